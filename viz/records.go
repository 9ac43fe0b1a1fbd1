package viz

import (
	"container/list"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/proxy/trace"
	"github.com/tulle-mesh/tulle/viz/api"
)

// What viz remembers of single requests.
const (
	// RecordsBudget bounds it, in bytes: half of it for the latest requests, some 15,000, and half
	// for traces.
	RecordsBudget = 16 << 20
	// MaxTraces bounds the traces. Of those that went well and those in which something did not,
	// neither pushes out more than half of the others.
	MaxTraces = 500
	// maxTraceRecords and maxTraceBytes bound one trace: somebody may send all its requests with
	// the same ID.
	maxTraceRecords = 512
	maxTraceBytes   = RecordsBudget / 32
	// maxRecordBytes bounds a record: a proxy's texts are at most a few KiB.
	maxRecordBytes = 16 << 10
	// maxKeptTries is more than a request may have.
	maxKeptTries = 16
	// shownFor is how long a trace that somebody has seen in a list stays: at hundreds of traces a
	// second it would have gone before anybody could ask for it.
	shownFor = 2 * time.Minute
	// recordSize is what keeping a record costs beside its own bytes.
	recordSize = 192
	// maxDuration and maxSkew are more than what a proxy can mean; beyond them it is taken for
	// nonsense.
	maxDuration = 30 * 24 * time.Hour
	maxSkew     = 366 * 24 * time.Hour
)

// records keeps what proxies told of single requests, for a while: the latest ones, and the latest
// traces.
type records struct {
	seed   maphash.Seed
	mu     sync.Mutex // guards what follows
	recent recent
	seen   map[uint64]struct{} // of recent: what comes twice is kept once
	traces map[trace.ID]*recordedTrace
	well   *list.List // the traces in which everything did, the oldest first
	unwell *list.List // and the others
	size   int        // of all traces
}

// kept is one proxy's record of one request. It never changes.
type kept struct {
	who       reporter
	body      []byte // an api.Record, as it came
	mark      uint64 // of it
	trace     trace.ID
	requestID string
	start     time.Time
	end       time.Time
	unwell    bool
}

func (k *kept) size() int { return recordSize + len(k.body) + len(k.requestID) }

// record is what the proxy said.
func (k *kept) record() *api.Record {
	m := &api.Record{}
	_ = proto.Unmarshal(k.body, m) // viz has marshalled it
	return m
}

// recent are the latest records, the oldest first, in a ring that grows.
type recent struct {
	all   []*kept
	first int
	size  int
}

func (r *recent) add(k *kept) {
	r.all = append(r.all, k)
	r.size += k.size()
}

// drop forgets the oldest.
func (r *recent) drop() *kept {
	k := r.all[r.first]
	r.all[r.first] = nil
	r.size -= k.size()
	if r.first++; r.first > len(r.all)/2 {
		r.all = append(r.all[:0:0], r.all[r.first:]...)
		r.first = 0
	}
	return k
}

// recordedTrace is what is known of one.
type recordedTrace struct {
	id      trace.ID
	records []*kept
	dropped int // beyond its bounds
	size    int
	unwell  bool
	shown   time.Time
	place   *list.Element // in well or unwell
}

func newRecords() *records {
	return &records{seed: maphash.MakeSeed(), seen: map[uint64]struct{}{},
		traces: map[trace.ID]*recordedTrace{}, well: list.New(), unwell: list.New()}
}

// take keeps a record. What is not whole, or known, changes nothing.
func (r *records) take(at time.Time, who reporter, m *api.Record) {
	k := r.keep(at, who, m)
	if k == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, twice := r.seen[k.mark]; twice {
		return
	}
	r.seen[k.mark] = struct{}{}
	r.recent.add(k)
	for r.recent.size > RecordsBudget/2 {
		delete(r.seen, r.recent.drop().mark)
	}
	if k.trace != (trace.ID{}) {
		r.traceLocked(at, k)
	}
}

// keep checks a record; nil: it is none.
func (r *records) keep(at time.Time, who reporter, m *api.Record) *kept {
	if m.GetLabels() == nil || proto.Size(m) > maxRecordBytes ||
		len(m.Trace.GetTries()) > maxKeptTries {
		return nil
	}
	body, err := proto.Marshal(m)
	if err != nil {
		return nil // a text that is no UTF-8
	}
	var h maphash.Hash
	h.SetSeed(r.seed)
	h.WriteString(who.id + "\n" + who.pod + "\n")
	h.Write(body)
	k := &kept{who: who, body: body, mark: h.Sum64(), requestID: m.RequestId, start: startOf(at, m),
		unwell: m.Failed || m.Reason != ""}
	k.end = k.start.Add(micros(m.DurationUs))
	t := m.Trace
	if len(t.GetTraceId()) == len(k.trace) && spanID(t.GetSpanId()) != (trace.SpanID{}) {
		k.trace = trace.ID(t.TraceId)
	}
	return k
}

// startOf is when a record began by its proxy's clock, which may be wrong, but not by years.
func startOf(at time.Time, m *api.Record) time.Time {
	start := time.UnixMicro(m.StartUnixUs)
	if d := at.Sub(start); d > maxSkew || d < -maxSkew {
		return at.Add(-micros(m.DurationUs))
	}
	return start
}

func micros(us uint64) time.Duration {
	return time.Duration(min(us, uint64(maxDuration/time.Microsecond))) * time.Microsecond
}

// traceLocked adds a record to its trace.
func (r *records) traceLocked(at time.Time, k *kept) {
	t := r.traces[k.trace]
	if t == nil {
		t = &recordedTrace{id: k.trace}
		t.place = r.well.PushBack(t)
		r.traces[k.trace] = t
	}
	if len(t.records) >= maxTraceRecords || t.size+k.size() > maxTraceBytes {
		t.dropped++
		return
	}
	t.records = append(t.records, k)
	t.size += k.size()
	r.size += k.size()
	if k.unwell && !t.unwell {
		r.well.Remove(t.place)
		t.unwell, t.place = true, r.unwell.PushBack(t)
	}
	for len(r.traces) > MaxTraces || r.size > RecordsBudget/2 {
		r.forgetLocked(at)
	}
}

// forgetLocked forgets a trace: the oldest of those that went well or of the others, whichever are
// more than half. One that was shown a moment ago stays, if another can go.
func (r *records) forgetLocked(at time.Time) {
	from := r.well
	if r.unwell.Len() > r.well.Len() {
		from = r.unwell
	}
	gone := from.Front().Value.(*recordedTrace)
	for e := from.Front(); e != nil; e = e.Next() {
		if t := e.Value.(*recordedTrace); at.Sub(t.shown) > shownFor {
			gone = t
			break
		}
	}
	from.Remove(gone.place)
	delete(r.traces, gone.id)
	r.size -= gone.size
}

// latest are the latest records, the newest last, and the traces that are known.
func (r *records) latest() []*kept {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.recent.all[r.recent.first:])
}

// all are copies of the traces.
func (r *records) all() []recordedTrace {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]recordedTrace, 0, len(r.traces))
	for _, t := range r.traces {
		out = append(out, *t)
	}
	return out
}

// traceOf is a copy of one; false: it is not known.
func (r *records) traceOf(at time.Time, id trace.ID) (recordedTrace, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.traces[id]
	if t == nil {
		return recordedTrace{}, false
	}
	t.shown = at
	return *t, true
}

// show notes that somebody sees these traces now.
func (r *records) show(at time.Time, rows []TraceRow) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range rows {
		if id, ok := parseTraceID(rows[i].TraceID); ok && r.traces[id] != nil {
			r.traces[id].shown = at
		}
	}
}
