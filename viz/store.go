package viz

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
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
	uptime   time.Duration
	seen     time.Time
	until    time.Time // where our clock must be for all of its uptime to have been
	stream   *stream   // nil after it ended
	dropped  uint64    // recordings that the proxy folded into "other"
	series   map[uint32]*series
	size     int
	ended    bool // a later life of the same pod's proxy has reported
	full     bool // some series were refused: beyond a budget
}

// live says whether the proxy is still there, as far as viz can know.
func (p *process) live(now time.Time) bool {
	return !p.ended && (p.stream != nil || now.Sub(p.seen) < staleAfter)
}

// series is one set of labels and its latest cumulative values. The store's lock guards it; labels
// never change.
type series struct {
	process *process
	labels  *labels // the store's
	flow    *flow   // where it is summed for Prometheus; the store's
	total   packed
	open    uint64
	changed time.Time
	// of the endpoints that it is about, and of all that its backend has
	ejected, endpoints uint32
}

// store holds every process and the history. A method whose name ends in Locked needs the lock.
type store struct {
	mu        sync.RWMutex // guards what follows, and the processes; answers only read
	processes map[processKey]*process
	labels    map[labels]*sharedLabels
	sizes     map[reporter]int
	history   history
	flows     flows
	size      int    // of all: labels that several proxies have count once
	refused   uint64 // series, and growth of some, beyond a budget
	trimmed   uint64 // reports of more than a proxy can do
	scratch   scratch
}

// sharedLabels are what any number of series have alike: the pods of a workload call the same
// services.
type sharedLabels struct {
	labels
	holders int
}

func newStore() *store {
	return &store{processes: make(map[processKey]*process),
		labels: make(map[labels]*sharedLabels), sizes: make(map[reporter]int), flows: newFlows()}
}

// apply takes a checked report. A refused one changes nothing.
func (s *store) apply(now time.Time, from *stream, r *report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expireLocked(now)
	key := processKey{from.who, r.startID}
	p, known := s.processes[key]
	if !known {
		p = &process{key: key, series: make(map[uint32]*series)}
	}
	if r.uptime < p.uptime {
		return nil // left over from a stream that another one has replaced
	}
	changes, err := p.changes(r, &s.scratch)
	if err != nil {
		return err
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
		s.moveFlowsLocked(p)
	}
	for _, c := range changes {
		s.changeLocked(now, p, c, counted)
	}
	return nil
}

func (p *process) update(now time.Time, from *stream, r *report) {
	p.stream, p.seen, p.uptime, p.ended = from, now, r.uptime, false
	p.workload, p.version, p.expiry, p.dropped = r.workload, r.version, r.expiry, r.dropped
}

// change is a series of a report, and how much it grew.
type change struct {
	in    incoming
	delta sample
}

func (p *process) changes(r *report, scratch *scratch) ([]change, error) {
	out := make([]change, 0, len(r.series))
	added := 0
	for _, in := range r.series {
		before := &scratch.sample
		before.reset()
		old := p.series[in.id]
		switch {
		case old == nil && in.labels == nil && p.full:
			continue // refused when its labels came
		case old == nil && in.labels == nil:
			return nil, status.Errorf(codes.InvalidArgument,
				"series %d came without labels, and never had any", in.id)
		case old == nil:
			added++
		case in.labels != nil && *in.labels != *old.labels:
			return nil, status.Errorf(codes.InvalidArgument, "series %d changed its labels", in.id)
		default:
			before.parse(old.total)
		}
		delta, err := in.sample.since(before)
		if err != nil {
			return nil, status.Error(codes.InvalidArgument,
				fmt.Sprintf("series %d: %v", in.id, err))
		}
		out = append(out, change{in, delta})
	}
	if n := len(p.series) + added; n > MaxSeriesPerProxy {
		return nil, status.Errorf(codes.ResourceExhausted,
			"the proxy has %d series: the limit is %d", n, MaxSeriesPerProxy)
	}
	return out, nil
}

func (s *store) changeLocked(now time.Time, p *process, c change, counted bool) {
	one := p.series[c.in.id]
	if one == nil {
		if one = s.addLocked(p, c.in); one == nil {
			return
		}
		one.changed = now
	}
	if one.open != c.in.open || !c.delta.zero() {
		one.changed = now
	}
	one.open, one.ejected, one.endpoints = c.in.open, c.in.ejected, c.in.endpoints
	if c.delta.zero() || !s.totalLocked(one, &c.delta) {
		return
	}
	if counted {
		s.history.add(now, one, &c.delta)
		one.flow.total.add(&c.delta)
	}
}

// totalLocked adds to a series' total, if what it grows by fits.
func (s *store) totalLocked(one *series, delta *sample) bool {
	s.scratch.sample.parse(one.total)
	s.scratch.sample.add(delta)
	next := s.scratch.pack(one.total, &s.scratch.sample)
	more := cap(next) - cap(one.total)
	if more > 0 && !s.fitsLocked(one.process.key.reporter, more) {
		s.refused++
		one.process.full = true
		return false
	}
	one.total = next
	s.growLocked(one.process, more)
	return true
}

// seriesSize is what a series costs beside its labels and its total, with its place in a map.
const seriesSize = 176

func (s *store) addLocked(p *process, in incoming) *series {
	if !s.fitsLocked(p.key.reporter, seriesSize+in.labels.size()) {
		s.refused++
		p.full = true
		return nil
	}
	one := &series{process: p, labels: s.shareLocked(p, in.labels)}
	one.flow = s.flows.hold(one.flowKey())
	p.series[in.id] = one
	s.growLocked(p, seriesSize)
	return one
}

// shareLocked returns the store's own of some labels. Each proxy's share counts them whole.
func (s *store) shareLocked(p *process, l *labels) *labels {
	shared := s.labels[*l]
	if shared == nil {
		shared = &sharedLabels{labels: *l}
		s.labels[*l] = shared
		s.size += l.size()
	}
	shared.holders++
	s.sizes[p.key.reporter] += l.size()
	return &shared.labels
}

func (s *store) unshareLocked(p *process, l *labels) {
	s.sizes[p.key.reporter] -= l.size()
	shared := s.labels[*l]
	if shared.holders--; shared.holders == 0 {
		delete(s.labels, *l)
		s.size -= l.size()
	}
}

func (s *store) fitsLocked(who reporter, size int) bool {
	return s.size+size <= SeriesBudget && s.sizes[who]+size <= ReporterBudget
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
			if other.until.After(p.until) {
				p.until = other.until // lives follow one another
			}
		}
	}
	s.processes[p.key] = p
	s.growLocked(p, processSize)
	return nil
}

func (s *store) forgetLocked(p *process) {
	for _, one := range p.series {
		s.unshareLocked(p, one.labels)
		s.flows.release(one.flow)
	}
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
	for _, p := range s.processes {
		if p.stream == nil && now.Sub(p.seen) > historyLength {
			s.forgetLocked(p)
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
		}
	}
}
