package viz

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/proxy/trace"
	"github.com/tulle-mesh/tulle/viz/api"
)

// world makes records as proxies would send them: of one trace, load → web → checkout → inventory,
// whose last hop was tried twice.
type world struct {
	id    [16]byte
	began time.Time
	sent  []sent
}

// sent is a record, and by whom.
type sent struct {
	who reporter
	m   *api.Record
}

func podOf(workload string) reporter {
	return reporter{"spiffe://cluster.local/ns/shop/sa/" + workload, "shop", workload,
		workload + "-0"}
}

// sid is a span's ID, by a number that is not zero.
func sid(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n<<1|1) }

func newWorld(id uint64) *world {
	w := &world{began: time.Unix(1_700_000_000, 0).Add(time.Duration(id) * time.Second)}
	binary.BigEndian.PutUint64(w.id[8:], id+1)
	return w
}

const ms = 1000 // microseconds

// record is one side of a request: from and to are milliseconds after the world began.
func (w *world) record(
	who string, direction api.Direction, from, to int64, span, parent uint64,
) *api.Record {
	m := &api.Record{StartUnixUs: w.began.UnixMicro() + from*ms, DurationUs: uint64(to-from) * ms,
		Labels: &api.Labels{Direction: direction, Protocol: "http/1",
			Security: api.Security_SECURITY_MTLS},
		Method: "GET", Path: "/stock", Authority: "x", HttpVersion: 1, Status: 200, Tries: 1,
		RequestId: fmt.Sprintf("request-%x", w.id[8:]),
		Trace:     &api.RecordTrace{TraceId: w.id[:], SpanId: sid(span)}}
	if parent > 0 {
		m.Trace.ParentId = sid(parent)
	}
	if direction == api.Direction_DIRECTION_OUTBOUND {
		m.Trace.Tries = []*api.RecordTry{{SpanId: sid(span), EndedUs: m.DurationUs, Status: 200,
			Endpoint: "10.0.0.1:80"}}
	}
	w.sent = append(w.sent, sent{podOf(who), m})
	return m
}

const (
	in  = api.Direction_DIRECTION_INBOUND
	out = api.Direction_DIRECTION_OUTBOUND
)

// called names whom a record's request went to.
func called(m *api.Record, service string) *api.Record {
	m.Labels.Service, m.Labels.Namespace = service, "shop"
	m.Labels.Peer = &api.Workload{Namespace: "shop", Kind: "deployment", Name: service,
		Pod: service + "-0"}
	m.Labels.Authority = service + ".shop.svc.cluster.local:80"
	return m
}

// retried is the whole trace, with everything that each proxy tells.
func retried(id uint64) *world {
	w := newWorld(id)
	called(w.record("load", out, 0, 40, 1, 0), "web")
	w.record("web", in, 1, 39, 2, 1)
	called(w.record("web", out, 2, 38, 3, 2), "checkout")
	w.record("checkout", in, 3, 37, 4, 3)
	last := called(w.record("checkout", out, 4, 36, 5, 4), "inventory")
	last.Labels.Route, last.Tries, last.Hop = "stock", 2, 77
	last.Trace.Tries = []*api.RecordTry{
		{SpanId: sid(5), EndedUs: 10 * ms, Status: 503, Endpoint: "10.0.0.1:80"},
		{SpanId: sid(6), BegunUs: 11 * ms, EndedUs: 32 * ms, Status: 200,
			Endpoint: "10.0.0.2:80"}}
	first := w.record("inventory", in, 5, 13, 7, 5)
	first.Status, first.Failed, first.Hop = 503, true, 77
	w.record("inventory", in, 16, 35, 8, 6).Hop = 77
	return w
}

func newTestServer() *Server { return New(Config{Log: slog.New(slog.DiscardHandler)}) }

func (w *world) tell(v *Server) {
	for _, s := range w.sent {
		v.records.take(w.began, s.who, s.m)
	}
}

// textOf is a trace as a tree, a line for each span.
func textOf(t *testing.T, v *Server, id [16]byte) string {
	t.Helper()
	tree, err := v.traceTree(time.Now(), trace.ID(id).String())
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, s := range tree.Tree {
		fmt.Fprintf(&b, "%s%s %s %s %v %s\n", strings.Repeat("  ", s.Depth), s.Workload, s.Kind,
			s.Name, s.Attributes["http.response.status_code"], s.Status)
	}
	return b.String()
}

const retriedTree = `load client GET 200 ok
  web server GET 200 ok
    web client GET 200 ok
      checkout server GET 200 ok
        checkout client GET stock 200 ok
          checkout client GET stock 503 error
            inventory server GET 503 error
          checkout client GET stock 200 ok
            inventory server GET 200 ok
`

// Whatever order records come in, and however often, the trace is the same tree.
func TestATraceIsATreeInWhateverOrderItComes(t *testing.T) {
	for seed := range uint64(200) {
		v, w, random := newTestServer(), retried(seed), rand.New(rand.NewPCG(seed, 1))
		w.sent = append(w.sent, w.sent[random.IntN(len(w.sent))], w.sent[random.IntN(len(w.sent))])
		random.Shuffle(len(w.sent), func(i, k int) {
			w.sent[i], w.sent[k] = w.sent[k], w.sent[i]
		})
		w.tell(v)
		if got := textOf(t, v, w.id); got != retriedTree {
			t.Fatalf("seed %d: got\n%s want\n%s", seed, got, retriedTree)
		}
	}
}

// A half that never comes leaves the rest in its place: what the missing span was above begins a
// tree of its own.
func TestAMissingHalfLeavesTheRest(t *testing.T) {
	for missing := range retried(0).sent {
		v, w := newTestServer(), retried(0)
		w.sent = slices.Delete(w.sent, missing, missing+1)
		w.tell(v)
		tree, err := v.traceTree(time.Now(), trace.ID(w.id).String())
		if err != nil {
			t.Fatal(err)
		}
		ids := map[string]bool{}
		for i, s := range tree.Tree {
			if ids[s.SpanID] {
				t.Errorf("without record %d: span %s is there twice", missing, s.SpanID)
			}
			ids[s.SpanID] = true
			if s.Depth > 0 && (i == 0 || tree.Tree[i-1].Depth < s.Depth-1) {
				t.Errorf("without record %d: %v hangs in the air", missing, s)
			}
		}
		gone := 1
		if missing == 4 {
			gone = 3 // the request's and its two tries'
		}
		if len(tree.Tree) != 9-gone || len(tree.Notes) == 0 {
			t.Errorf("without record %d: %d spans, notes %q", missing, len(tree.Tree), tree.Notes)
		}
	}
}

// Where two pods' clocks differ, a span that cannot have happened when its proxy says is moved into
// its parent, with all that it caused in its pod.
func TestClocksThatDifferAreCorrected(t *testing.T) {
	for seed := range uint64(300) {
		random := rand.New(rand.NewPCG(seed, 2))
		v, w := newTestServer(), retried(0)
		skew := map[string]int64{}
		for _, s := range w.sent {
			if _, known := skew[s.who.pod]; !known {
				skew[s.who.pod] = random.Int64N(20_000*ms) - 10_000*ms
			}
			s.m.StartUnixUs += skew[s.who.pod]
		}
		w.tell(v)
		if got := textOf(t, v, w.id); got != retriedTree {
			t.Fatalf("seed %d: got\n%s", seed, got)
		}
		tree, _ := v.traceTree(time.Now(), trace.ID(w.id).String())
		if tree.DurationMs != 40 {
			t.Fatalf("seed %d: the trace takes %v ms, want 40", seed, tree.DurationMs)
		}
		var above []Span
		for _, s := range tree.Tree {
			above = append(above[:s.Depth], s)
			if s.Depth == 0 {
				continue
			}
			p := above[s.Depth-1]
			if s.StartUs < p.StartUs || s.StartUs+s.DurationUs > p.StartUs+p.DurationUs {
				t.Fatalf("seed %d: %s %s is not within its parent", seed, s.Workload, s.Kind)
			}
		}
	}
}

// A callee goes on after a caller that gave up: that is no clock's fault.
func TestAServerMayOutliveItsCaller(t *testing.T) {
	v, w := newTestServer(), newWorld(0)
	m := called(w.record("web", out, 0, 10, 1, 0), "slow")
	m.Status, m.Reason, m.Failed = 504, "request_timeout", true
	m.Trace.Tries[0].Status = 0
	w.record("slow", in, 2, 500, 2, 1)
	w.tell(v)
	tree, err := v.traceTree(time.Now(), trace.ID(w.id).String())
	if err != nil || len(tree.Tree) != 2 || tree.Tree[1].ShiftedUs != 0 || !tree.Failed ||
		tree.Reason != "request_timeout" || tree.DurationMs != 500 {
		t.Errorf("%+v, %v", tree, err)
	}
}

// An application with spans of its own, which it exports elsewhere, is still between the two.
func TestAnApplicationsOwnSpansAreBetween(t *testing.T) {
	v, w := newTestServer(), newWorld(0)
	w.record("web", in, 0, 30, 1, 0)
	w.record("web", out, 5, 20, 3, 99) // below a span that nobody knows
	w.tell(v)
	tree, _ := v.traceTree(time.Now(), trace.ID(w.id).String())
	if len(tree.Tree) != 2 || tree.Tree[1].Depth != 1 || !tree.Tree[1].Inferred ||
		len(tree.Notes) != 1 {
		t.Errorf("%+v %q", tree.Tree, tree.Notes)
	}
}

// A copy of a request is a trace of its own, and each knows of the other.
func TestAMirroredRequestIsLinked(t *testing.T) {
	v, w, copied := newTestServer(), retried(0), newWorld(1)
	m := copied.record("checkout", out, 4, 6, 1, 0)
	m.Trace.LinkedTraceId, m.Trace.LinkedSpanId = w.id[:], sid(5)
	w.tell(v)
	copied.tell(v)
	original, err := v.traceTree(time.Now(), trace.ID(w.id).String())
	if err != nil || len(original.Tree) != 9 ||
		!slices.Equal(original.Copies, []string{trace.ID(copied.id).String()}) {
		t.Errorf("%v, copies %q", err, original.Copies)
	}
	mirror, err := v.traceTree(time.Now(), trace.ID(copied.id).String())
	if err != nil || mirror.Tree[0].Link == nil || mirror.Tree[0].ParentID != "" ||
		mirror.Tree[0].Link.TraceID != trace.ID(w.id).String() {
		t.Errorf("%v, %+v", err, mirror)
	}
}

// Spans that say of each other that they are their parents still have a place each.
func TestSpansInACircle(t *testing.T) {
	v, w := newTestServer(), newWorld(0)
	w.record("a", in, 0, 10, 1, 2)
	w.record("b", in, 1, 9, 2, 3)
	w.record("c", in, 2, 8, 3, 1)
	w.record("d", in, 2, 8, 4, 4)
	w.tell(v)
	if got := textOf(t, v, w.id); strings.Count(got, "\n") != 4 {
		t.Errorf("got\n%s", got)
	}
}

// However many traces and records come, and of whatever size, memory stays within its budget.
func TestRecordsStayWithinTheirBudget(t *testing.T) {
	v := newTestServer()
	for i := range uint64(10_000) {
		w := retried(i)
		if i%3 > 0 { // most of it goes well
			w.sent = w.sent[:2]
		}
		if i%100 == 0 {
			w.sent[0].m.Path = "/" + strings.Repeat("x", 4000)
		}
		w.tell(v)
	}
	r := v.records
	size, seen := 0, 0
	for _, t := range r.traces {
		for _, k := range t.records {
			size += k.size()
		}
	}
	for _, k := range r.latest() {
		seen += k.size()
	}
	if len(r.traces) != MaxTraces || r.well.Len()+r.unwell.Len() != MaxTraces ||
		size != r.size || size > RecordsBudget/2 {
		t.Errorf("%d traces of %d bytes, counted as %d", len(r.traces), size, r.size)
	}
	if n := len(r.latest()); seen != r.recent.size || seen > RecordsBudget/2 || len(r.seen) != n {
		t.Errorf("%d records of %d bytes, counted as %d; %d marks", n, seen, r.recent.size,
			len(r.seen))
	}
	if n := r.unwell.Len(); n < MaxTraces/2 || n > MaxTraces/2+1 {
		t.Errorf("%d of the traces did not go well, want half of them", n)
	}
	if list, _ := v.traceList(time.Now(), TraceQuery{Limit: 3}); len(list.Traces) != 3 ||
		list.Known != MaxTraces || list.Traces[0].Start.Before(list.Traces[2].Start) {
		t.Errorf("listed %+v", list)
	}
	one := newWorld(20_000)
	for i := range int64(2000) {
		one.record("web", out, i, i+1, uint64(i), 0)
	}
	one.tell(v)
	if known, ok := r.traceOf(time.Now(), one.id); !ok || len(known.records) > maxTraceRecords ||
		known.dropped != 2000-len(known.records) {
		t.Errorf("a trace without end has %d records", len(known.records))
	}
}

// What somebody has seen in a list stays while others come and go.
func TestAListedTraceStays(t *testing.T) {
	v, w := newTestServer(), retried(0)
	w.tell(v)
	list, _ := v.traceList(w.began, TraceQuery{Limit: 10})
	for i := range uint64(2000) {
		other := retried(i + 1)
		other.began = w.began
		other.tell(v)
	}
	if _, err := v.traceTree(w.began, list.Traces[0].TraceID); err != nil {
		t.Error(err)
	}
}

func TestTracesAreFiltered(t *testing.T) {
	v, w, failed := newTestServer(), retried(0), newWorld(1)
	m := called(failed.record("web", out, 0, 900, 1, 0), "payments")
	m.Status, m.Failed, m.Reason, m.Trace.Tries[0].Status = 503, true, "no_endpoints", 0
	w.tell(v)
	failed.tell(v)
	for _, tt := range []struct {
		q    TraceQuery
		want string
	}{
		{TraceQuery{}, "payments inventory"},
		{TraceQuery{Failed: true}, "payments"},
		{TraceQuery{Service: "inventory"}, "inventory"},
		{TraceQuery{Service: "payments", Namespace: "shop"}, "payments"},
		{TraceQuery{Service: "payments", Namespace: "bank"}, ""},
		{TraceQuery{Namespace: "shop"}, "payments inventory"},
		{TraceQuery{MinDuration: time.Second}, ""},
		{TraceQuery{MinDuration: 900 * time.Millisecond}, "payments"},
	} {
		tt.q.Limit = 10
		list, err := v.traceList(time.Now(), tt.q)
		var got []string
		for _, row := range list.Traces {
			if row.Spans == 1 {
				got = append(got, "payments")
				if !row.Failed || row.Reason != "no_endpoints" || row.Errors != 1 {
					t.Errorf("%+v", row)
				}
				continue
			}
			got = append(got, "inventory")
			if row.Failed || row.Retries != 1 || row.Errors != 2 || row.Service != "load" ||
				strings.Join(row.Services, " ") != "checkout inventory load web" {
				t.Errorf("%+v", row)
			}
		}
		if strings.Join(got, " ") != tt.want || err != nil {
			t.Errorf("%+v: %q, want %q", tt.q, got, tt.want)
		}
	}
}

// Whatever a proxy sends, questions are answered, and what is shown is printable.
func FuzzRecords(f *testing.F) {
	for _, s := range retried(0).sent {
		b, _ := proto.Marshal(s.m)
		f.Add(b, b)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		v := newTestServer()
		for i, b := range [][]byte{first, second} {
			m := &api.Record{}
			if proto.Unmarshal(b, m) != nil {
				continue
			}
			v.records.take(time.Now(), podOf([]string{"a", "b"}[i]), m)
		}
		list, err := v.traceList(time.Now(), TraceQuery{Limit: 9})
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range list.Traces {
			tree, err := v.traceTree(time.Now(), row.TraceID)
			if err != nil || len(tree.Tree) != row.Spans {
				t.Fatalf("%v: %d spans of %d", err, len(tree.Tree), row.Spans)
			}
			checkPrintable(t, tree)
			why, err := v.why(time.Now(), row.TraceID)
			if err != nil || len(why.Calls) == 0 {
				t.Fatalf("%+v, %v", why, err)
			}
			checkPrintable(t, why)
		}
		requests, err := v.requestList(time.Now(), RequestQuery{Limit: 9})
		if err != nil {
			t.Fatal(err)
		}
		checkPrintable(t, requests)
		if _, err := v.propagation(time.Now(), struct{}{}); err != nil {
			t.Fatal(err)
		}
	})
}

func checkPrintable(t *testing.T, answer any) {
	t.Helper()
	if text := fmt.Sprintf("%+v", answer); printable(text) != text {
		t.Errorf("it cannot be printed: %q", text)
	}
}
