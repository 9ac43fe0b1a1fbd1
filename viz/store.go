package viz

import (
	"fmt"
	"iter"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/viz/slo"
)

// What viz remembers of proxies.
const (
	// SeriesBudget bounds labels and totals. A series costs about 250 bytes, and its labels 600,
	// which the pods of a workload have together: room for 10,000 proxies with 40 series each.
	SeriesBudget = 128 << 20
	// ReporterBudget bounds one pod's share, all lives of its proxy in the last hour together, so
	// that one that restarts without end, or lies, cannot push the others out. 1,000 series of
	// usual size take 1 MiB.
	ReporterBudget = 4 << 20
	// maxGap is the longest silence of a proxy whose counts still go into rates. What happened in a
	// longer one, for example before viz started, goes into the totals only: it is not known when
	// it happened.
	maxGap = time.Minute
	// staleAfter is how long a proxy whose stream ended still counts as meshed: it reconnects
	// within seconds.
	staleAfter = 15 * time.Second
	// processSize is what a process costs before its first series.
	processSize = 1 << 10
)

// processKey is one life of one proxy.
type processKey struct {
	reporter reporter
	startID  string
}

// process is what a proxy said during one life. The store's lock guards it.
type process struct {
	key      processKey
	workload workload
	version  string
	expiry   time.Time
	held     held
	uptime   time.Duration
	seen     time.Time
	until    time.Time // where our clock must be for all of its uptime to have been
	stream   *stream   // nil after it ended
	dropped  uint64    // recordings that the proxy folded into "other"
	series   map[uint32]*series
	past     map[*series]*series // by whole, what series that have ended have counted
	size     int
	ended    bool // a later life of the same pod's proxy has reported
	full     bool // some series were refused: beyond a budget
	counted  bool // what its series have open is counted in their wholes
	crew     *process
	members  map[*process]struct{} // of a crew alone
	lately   time.Duration         // how much of its time it told of in what is recent
	retold   bool                  // until its first report has counted: see objectives.retold
}

// live says whether the proxy is still there, as far as viz can know. A crew is always there: what
// its members have open is counted of those alone that live.
func (p *process) live(now time.Time) bool {
	return p.members != nil || !p.ended && (p.stream != nil || now.Sub(p.seen) < staleAfter)
}

// series is one set of labels and its latest cumulative values: of a process, or a whole. The
// store's lock guards it; labels never change.
type series struct {
	process *process
	labels  *labels       // the store's
	flow    *flow         // where it is summed for Prometheus; the store's; a whole has none
	ledgers []*slo.Ledger // of the objectives that it counts for; the store's
	whole   *series       // nil: it is one
	total   packed
	recent  packed // of a whole alone: the sum of what the history calls recent
	open    uint64
	changed time.Time
	index   uint32 // in its table
	parts   uint32 // of a whole
	// of the endpoints that it is about, and of all that its backend has; not of wholes
	ejected, endpoints uint32
}

// store holds every process and the history. A method whose name ends in Locked needs the lock.
type store struct {
	mu         sync.RWMutex // guards what follows, and the processes; answers only read
	processes  map[processKey]*process
	crews      map[workload]*process
	leaving    map[*process]struct{} // those that may have ceased to live, and are counted
	wholes     map[wholeKey]*series
	level      table                // of wholes
	parts      table                // of all other series
	noted      map[*series]struct{} // parts whose endpoints are known
	labels     labelSets
	sizes      map[reporter]int
	history    history
	views      []view // of the page for Prometheus; they never change
	made       uint64 // changes when a whole begins or ends
	served     atomic.Pointer[servings]
	flows      flows
	objectives objectives
	size       int      // of all but the labels
	refused    uint64   // series, and growth of some, beyond a budget
	trimmed    uint64   // reports of more than a proxy can do
	gone       []uint32 // of the report that is being applied
	scratch    scratch
	another    scratch // for wholes
}

func newStore(views []view) *store {
	s := &store{processes: make(map[processKey]*process), crews: make(map[workload]*process),
		leaving: make(map[*process]struct{}), wholes: make(map[wholeKey]*series),
		noted:  make(map[*series]struct{}),
		labels: newLabelSets(), sizes: make(map[reporter]int), views: views,
		flows: newFlows(maxFlows(views)), objectives: newObjectives()}
	s.history.level = &s.level
	return s
}

// bytes is what processes and series take.
func (s *store) bytes() int { return s.size + s.labels.size }

// apply takes a checked report. A refused one changes nothing.
func (s *store) apply(now time.Time, from *stream, r *report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireLocked(now)
	key := processKey{from.who, r.startID}
	p, known := s.processes[key]
	if !known {
		p = &process{key: key, series: make(map[uint32]*series),
			retold: s.objectives.retold(now, r.uptime)}
	}
	if r.uptime < p.uptime {
		return nil // left over from a stream that another one has replaced
	}
	changes, added, err := p.changes(r, &s.scratch)
	if err != nil {
		return err
	}
	s.gone = p.gone(s.gone[:0], from, r)
	if n := len(p.series) + added - len(s.gone); n > MaxSeriesPerProxy {
		return status.Errorf(codes.ResourceExhausted,
			"the proxy has %d series: the limit is %d", n, MaxSeriesPerProxy)
	}
	if !known {
		if err := s.beginLocked(p); err != nil {
			return err
		}
	}
	gap := r.uptime - p.uptime
	counted := gap <= maxGap || p.stream == from
	believed := p.believe(now, gap)
	if counted {
		believed = min(believed, maxGap)
	}
	s.history.cover(now, p, min(believed, gap), counted)
	if trim(changes, believed) {
		s.trimmed++
		from.trimmed++
	}
	moved := p.workload != r.workload
	p.update(now, from, r)
	if moved {
		s.moveLocked(p)
	}
	s.countLocked(p)
	for _, id := range s.gone {
		s.endLocked(now, p, id)
	}
	for _, c := range changes {
		s.changeLocked(now, p, c, counted)
	}
	p.retold = false
	return nil
}

// all are the series that a process has, and its pasts.
func (p *process) all() iter.Seq[*series] {
	return func(yield func(*series) bool) {
		for _, of := range []iter.Seq[*series]{maps.Values(p.series), maps.Values(p.past)} {
			for one := range of {
				if !yield(one) {
					return
				}
			}
		}
	}
}

func (p *process) update(now time.Time, from *stream, r *report) {
	p.stream, p.seen, p.uptime, p.ended = from, now, r.uptime, false
	p.workload, p.version, p.expiry, p.dropped = r.workload, r.version, r.expiry, r.dropped
	p.held = r.held
}

// change is a series of a report, and how much it grew.
type change struct {
	in    incoming
	delta sample
}

// changes are what a report says that is new, and of how many series that are.
func (p *process) changes(
	r *report, scratch *scratch,
) (out []change, added int, err error) {
	out = make([]change, 0, len(r.series))
	for _, in := range r.series {
		before := &scratch.sample
		before.reset()
		old := p.series[in.id]
		switch {
		case old == nil && in.labels == nil && p.full:
			continue // refused when its labels came
		case old == nil && in.labels == nil:
			return nil, 0, status.Errorf(codes.InvalidArgument,
				"series %d came without labels, and never had any", in.id)
		case old == nil:
			added++
		case in.labels != nil && *in.labels != *old.labels:
			return nil, 0, status.Errorf(codes.InvalidArgument,
				"series %d changed its labels", in.id)
		default:
			before.parse(old.total)
		}
		delta, err := in.sample.since(before)
		if err != nil {
			return nil, 0, status.Error(codes.InvalidArgument,
				fmt.Sprintf("series %d: %v", in.id, err))
		}
		out = append(out, change{in, delta})
	}
	return out, added, nil
}

func (s *store) changeLocked(now time.Time, p *process, c change, counted bool) {
	one := p.series[c.in.id]
	if one == nil {
		if one = s.addLocked(p, c.in); one == nil {
			return
		}
		s.touchLocked(now, one)
	}
	if one.open != c.in.open || !c.delta.zero() {
		s.touchLocked(now, one)
	}
	s.noteLocked(one, c.in)
	if c.delta.zero() || !s.totalLocked(one, &c.delta) {
		return
	}
	s.wholeTotal(one.whole, &c.delta)
	if counted {
		s.history.add(now, one, &c.delta)
		one.flow.total.add(&c.delta)
		one.flow.exemplars.put(now, c.in.exemplar)
		if !p.retold {
			s.objectives.count(now, one, &c.delta)
		}
	}
}

// touchLocked says that something of a series has changed.
func (s *store) touchLocked(now time.Time, one *series) {
	one.changed, one.whole.changed = now, now
	s.level.changed(one.whole)
	one.flow.note(now)
}

// noteLocked takes the gauges.
func (s *store) noteLocked(one *series, in incoming) {
	one.whole.open += in.open - one.open
	one.open, one.ejected, one.endpoints = in.open, in.ejected, in.endpoints
	if one.endpoints > 0 {
		s.noted[one] = struct{}{}
	} else {
		delete(s.noted, one)
	}
}

// totalLocked adds to a series' total, if what it grows by fits.
func (s *store) totalLocked(one *series, delta *sample) bool {
	s.scratch.sample.parse(one.total)
	s.scratch.sample.add(delta)
	next := s.scratch.pack(one.total, &s.scratch.sample)
	more := cap(next) - cap(one.total)
	if more > 0 && !s.fitsLocked(one.process.key.reporter, 2*more) { // its whole grows, too
		s.refused++
		one.process.full = true
		return false
	}
	one.total = next
	s.growLocked(one.process, more)
	return true
}

// seriesSize is what a series costs beside its labels and its total, with its place in a map.
const seriesSize = 224

func (s *store) addLocked(p *process, in incoming) *series {
	one := s.makeLocked(p, in.labels)
	if one != nil {
		p.series[in.id] = one
	}
	return one
}

// makeLocked makes a series of a process's; nil: beyond a budget.
func (s *store) makeLocked(p *process, l *labels) *series {
	if !s.fitsLocked(p.key.reporter, seriesSize+l.size()) {
		s.refused++
		p.full = true
		return nil
	}
	one := &series{process: p, labels: s.labels.hold(l)}
	one.flow = s.flows.hold(one.flowKey())
	s.parts.add(one, s.history.number())
	s.unite(one)
	one.ledgers = s.ledgersLocked(one)
	s.growLocked(p, seriesSize)
	s.sizes[p.key.reporter] += one.labels.size() // whole, whoever else has them
	return one
}

func (s *store) removeLocked(one *series) {
	s.departLocked(one)
	s.parts.remove(one, s.history.number())
	s.flows.release(one.flow)
	delete(s.noted, one)
	s.sizes[one.process.key.reporter] -= one.labels.size()
	s.labels.release(one.labels)
}

func (s *store) fitsLocked(who reporter, size int) bool {
	return s.bytes()+size <= SeriesBudget && s.sizes[who]+size <= ReporterBudget
}

func (s *store) growLocked(p *process, n int) {
	p.size += n
	s.size += n
	s.sizes[p.key.reporter] += n
}

// beginLocked notes a new life of a pod's proxy. The others have ended, even where their
// connections are not closed yet: a pod runs one proxy at a time.
func (s *store) beginLocked(p *process) error {
	if !s.fitsLocked(p.key.reporter, processSize) {
		return status.Errorf(codes.ResourceExhausted,
			"viz has no room for another life of %s: its memory is bounded", p.key.reporter.pod)
	}
	for _, other := range s.processes {
		if other.key.reporter == p.key.reporter {
			other.ended = true
			s.leaving[other] = struct{}{}
			if other.until.After(p.until) {
				p.until = other.until // lives follow one another
			}
		}
	}
	s.processes[p.key] = p
	s.joinLocked(p)
	s.growLocked(p, processSize)
	return nil
}

func (s *store) forgetLocked(p *process) {
	for one := range p.all() {
		s.removeLocked(one)
	}
	s.leaveLocked(p)
	delete(s.leaving, p)
	s.growLocked(p, -p.size)
	if s.sizes[p.key.reporter] == 0 {
		delete(s.sizes, p.key.reporter)
	}
	delete(s.processes, p.key)
}

// expireLocked forgets proxies that the history no longer speaks of.
func (s *store) expireLocked(now time.Time) {
	if !s.history.turn(now) {
		return
	}
	s.flows.age(now)
	for _, p := range s.processes {
		if p.stream == nil && now.Sub(p.seen) > historyLength {
			s.forgetLocked(p)
		} else {
			s.outliveLocked(now, p)
		}
	}
}

// end notes that a stream is over. A process that reports over another stream by now is none of its
// business.
func (s *store) end(now time.Time, from *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.processes {
		if p.stream == from {
			p.stream, p.seen = nil, now
			s.leaving[p] = struct{}{}
		}
	}
}

// countLocked counts what a process that has just reported has open.
func (s *store) countLocked(p *process) {
	delete(s.leaving, p)
	if p.counted {
		return
	}
	p.counted = true
	for _, one := range p.series {
		one.whole.open += one.open
	}
}

// settleLocked brings up to date what changes without a report: what has ended is not open any
// more, and the past is past.
func (s *store) settleLocked(now time.Time) {
	if n := s.history.number(); n > 0 && slotNumber(now) > n {
		s.expireLocked(now)
	}
	for p := range s.leaving {
		if p.live(now) {
			continue
		}
		delete(s.leaving, p)
		p.counted = false
		for _, one := range p.series {
			one.whole.open -= one.open
		}
	}
}

// settledLocked reports whether settleLocked has nothing to do.
func (s *store) settledLocked(now time.Time) bool {
	if n := s.history.number(); n > 0 && slotNumber(now) > n {
		return false
	}
	for p := range s.leaving {
		if !p.live(now) {
			return false
		}
	}
	return true
}

// read settles the store and locks it for an answer, until done is called. Mostly it is settled:
// then answers do not wait for one another.
func (s *store) read(now time.Time) (done func()) {
	s.mu.RLock()
	if s.settledLocked(now) {
		return s.mu.RUnlock
	}
	s.mu.RUnlock()
	s.mu.Lock()
	s.settleLocked(now)
	s.mu.Unlock()
	s.mu.RLock()
	return s.mu.RUnlock
}
