package viz

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/viz/api"
	"github.com/tulle-mesh/tulle/viz/api/vizgrpc"
)

// shower is one stream of records of a test's proxy.
type shower struct {
	t      *testing.T
	stream grpc.BidiStreamingClient[api.RecordsRequest, api.RecordsResponse]
}

func (r *running) shows(account, pod string) *shower {
	r.t.Helper()
	server, _ := spiffe.ForWorkload(testDomain, "tulle", "tulle-viz")
	tls := spiffe.ClientConfig(r.ca.source("shop", account, pod, time.Hour), server,
		[]string{"h2"}, "tulle-viz.tulle.svc")
	conn, err := grpc.NewClient(r.reports, grpc.WithTransportCredentials(credentials.NewTLS(tls)))
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	r.t.Cleanup(func() { cancel(); conn.Close() })
	s := &shower{t: r.t}
	if s.stream, err = vizgrpc.NewVizClient(conn).Records(ctx); err != nil {
		r.t.Fatal(err)
	}
	return s
}

func (s *shower) send(m *api.RecordsRequest) {
	s.t.Helper()
	if err := s.stream.Send(m); err != nil {
		s.t.Fatal(err)
	}
}

// taps receives until there are so many.
func (s *shower) taps(n int) []*api.Tap {
	s.t.Helper()
	for {
		m, err := s.stream.Recv()
		if err != nil {
			s.t.Fatal(err)
		}
		if len(m.Taps) == n {
			return m.Taps
		}
	}
}

func introduction(account, pod string) *api.RecordsRequest {
	return &api.RecordsRequest{StartId: "first", Workload: &api.Workload{Namespace: "shop",
		Kind: "deployment", Name: account, Pod: pod}}
}

// sentRecord is what web's proxy saw of a request to checkout, and gotRecord what checkout's did.
func sentRecord(hop uint64, taps ...uint32) *api.Record {
	return &api.Record{StartUnixUs: 1_800_000_000_000_000, DurationUs: 2500, Method: "GET",
		Path: "/cart", Authority: "checkout:80", HttpVersion: 1, Status: 200, Tries: 1, Hop: hop,
		Taps: taps, Labels: &api.Labels{Direction: api.Direction_DIRECTION_OUTBOUND,
			Security: api.Security_SECURITY_MTLS, Service: "checkout", Namespace: "shop",
			Peer: &api.Workload{Namespace: "shop", Kind: "deployment", Name: "checkout",
				Pod: "checkout-1"},
			PeerId: "spiffe://cluster.local/ns/shop/sa/checkout",
			OwnId:  "spiffe://cluster.local/ns/shop/sa/web"}}
}

func gotRecord(hop uint64, taps ...uint32) *api.Record {
	return &api.Record{StartUnixUs: 1_800_000_000_000_100, DurationUs: 1500, Method: "GET",
		Path: "/cart", HttpVersion: 2, Status: 200, Hop: hop, Taps: taps,
		Labels: &api.Labels{Direction: api.Direction_DIRECTION_INBOUND,
			Security: api.Security_SECURITY_MTLS,
			PeerId:   "spiffe://cluster.local/ns/shop/sa/web",
			OwnId:    "spiffe://cluster.local/ns/shop/sa/checkout"}}
}

// hearing is a tap's asker.
type hearing struct {
	mu    sync.Mutex // guards what follows
	lines []TapLine
	done  chan error
}

func (r *running) taps(ctx context.Context, q TapQuery) *hearing {
	h := &hearing{done: make(chan error, 1)}
	go func() {
		h.done <- r.client.Tap(ctx, &q, func(line TapLine) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.lines = append(h.lines, line)
			return nil
		})
	}()
	return h
}

// await returns the first line that is right.
func (h *hearing) await(t *testing.T, what string, right func(TapLine) bool) (found TapLine) {
	t.Helper()
	await.True(t, what, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		for _, line := range h.lines {
			if right(line) {
				found = line
				return true
			}
		}
		return false
	})
	return found
}

func TestATapFromProxiesToItsAsker(t *testing.T) {
	r := startViz(t, newTestCA(t))
	web, checkout := r.shows("web", "web-1"), r.shows("checkout", "checkout-1")
	web.send(introduction("web", "web-1"))
	checkout.send(introduction("checkout", "checkout-1"))
	web.taps(0)
	checkout.taps(0)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	heard := r.taps(ctx, TapQuery{Resource: "deploy/web"})
	tap := web.taps(1)[0]
	if other := checkout.taps(1)[0]; other.Id != tap.Id || other.Filter.GetPeerWorkload() != "web" {
		t.Errorf("checkout is asked for %v", other)
	}
	checkout.send(&api.RecordsRequest{Records: []*api.Record{gotRecord(7)}})
	web.send(&api.RecordsRequest{Records: []*api.Record{sentRecord(7, tap.Id)}, Dropped: 3,
		Taps: []*api.TapCount{{Id: tap.Id, Matched: 40, Shown: 1}}})
	one := heard.await(t, "the request", func(l TapLine) bool { return l.Record != nil }).Record
	if one.Inbound == nil || one.ClientWorkload != "deployment/web" ||
		one.Inbound.ServerWorkload != "deployment/checkout" || one.Duration != 0.0025 ||
		one.Inbound.Duration != 0.0015 || one.Host != "checkout" {
		t.Errorf("it is %+v with %+v", one, one.Inbound)
	}
	heard.await(t, "what was counted", func(l TapLine) bool {
		return l.Counts == TapCounts{Matched: 40, Shown: 1, Dropped: 3, Proxies: 2}
	})
	cancel()
	<-heard.done
	web.taps(0) // the proxies stop looking with the last asker
}

func TestATapEndsAtItsLimit(t *testing.T) {
	r := startViz(t, newTestCA(t))
	web := r.shows("web", "web-1")
	web.send(introduction("web", "web-1"))
	heard := r.taps(t.Context(), TapQuery{Limit: 2})
	id := web.taps(1)[0].Id
	for range 5 {
		web.send(&api.RecordsRequest{Records: []*api.Record{sentRecord(0, id, id)}})
	}
	if err := await.Receive(t, "the tap ends", heard.done); err != nil {
		t.Error(err)
	}
	last := heard.lines[len(heard.lines)-1]
	if last.Record != nil || last.Counts.Shown != 2 {
		t.Errorf("it ends with %+v", last)
	}
	shortly := r.taps(t.Context(), TapQuery{Duration: time.Millisecond})
	if err := await.Receive(t, "the tap ends in time", shortly.done); err != nil {
		t.Error(err)
	}
}

// Taps cost proxies: there are so many, and no more.
func TestTapsAreBounded(t *testing.T) {
	r := startViz(t, newTestCA(t))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range maxTaps {
		r.taps(ctx, TapQuery{}).await(t, "a tap", func(TapLine) bool { return true })
	}
	err := r.client.Tap(ctx, &TapQuery{}, func(TapLine) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "16 taps are open already") {
		t.Errorf("one more: %v", err)
	}
}

// An asker that does not read loses requests, is told how many, and keeps nobody waiting.
func TestASlowAskerDrops(t *testing.T) {
	h := newHub()
	p, err := new(TapQuery).plan()
	if err != nil {
		t.Fatal(err)
	}
	slow, err := h.begin(p)
	if err != nil {
		t.Fatal(err)
	}
	for range tapQueue + 5 {
		h.deliver(&TapRecord{}, []uint32{slow.id})
	}
	if c := slow.soFar(1); c.Dropped != 5 || c.Matched < 5 {
		t.Errorf("it has counted %+v", c)
	}
}

func TestATapAsServerSentEvents(t *testing.T) {
	r := startViz(t, newTestCA(t))
	req, err := http.NewRequest(http.MethodGet, "http://"+r.client.addr+"/api/tap?stream=1&limit=1",
		nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b := make([]byte, 100)
	n, err := resp.Body.Read(b)
	if err != nil || !strings.HasPrefix(string(b[:n]), `data: {"tulle.tap.matched":0,`) ||
		resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%s %q %v", resp.Header, b[:n], err)
	}
}

func TestBadRecordsAreRefused(t *testing.T) {
	long := strings.Repeat("x", maxRecordText+1)
	record := func(change func(*api.Record)) func(*api.RecordsRequest) {
		return func(m *api.RecordsRequest) { change(m.Records[0]) }
	}
	traced := func(change func(*api.RecordTrace)) func(*api.RecordsRequest) {
		return record(func(r *api.Record) {
			r.Trace = &api.RecordTrace{TraceId: make([]byte, 16), SpanId: make([]byte, 8)}
			change(r.Trace)
		})
	}
	for want, change := range map[string]func(*api.RecordsRequest){
		"start_id has":     func(m *api.RecordsRequest) { m.StartId = long },
		"513 records":      func(m *api.RecordsRequest) { m.Records = make([]*api.Record, 513) },
		"65 counts":        func(m *api.RecordsRequest) { m.Taps = make([]*api.TapCount, 65) },
		"no labels":        record(func(r *api.Record) { r.Labels = nil }),
		"record 1: it has": func(m *api.RecordsRequest) { m.Records = append(m.Records, nil) },
		"no direction":     record(func(r *api.Record) { r.Labels.Direction = 0 }),
		"claims to be of":  record(func(r *api.Record) { r.Labels.OwnId = "spiffe://a" }),
		"a text has":       record(func(r *api.Record) { r.Path = long }),
		"a number is":      record(func(r *api.Record) { r.DurationUs = 1 << 60 }),
		"is no time":       record(func(r *api.Record) { r.StartUnixUs = 1 << 62 }),
		"is for 65 taps":   record(func(r *api.Record) { r.Taps = make([]uint32, 65) }),
		"trace_id has":     traced(func(t *api.RecordTrace) { t.TraceId = nil }),
		"it has 65 tries": traced(func(t *api.RecordTrace) {
			t.Tries = make([]*api.RecordTry, 65)
		}),
		"a try is empty":    traced(func(t *api.RecordTrace) { t.Tries = []*api.RecordTry{nil} }),
		"an ID has 3 bytes": traced(func(t *api.RecordTrace) { t.ParentId = []byte("abc") }),
		"a try's span_id":   traced(func(t *api.RecordTrace) { t.Tries = []*api.RecordTry{{}} }),
		"a try's time": traced(func(t *api.RecordTrace) {
			t.Tries = []*api.RecordTry{{SpanId: make([]byte, 8), SentUs: 1 << 60}}
		}),
	} {
		m := &api.RecordsRequest{Records: []*api.Record{sentRecord(1, 1)}}
		change(m)
		if err := checkRecords(testReporter, m); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("refused with %v, want %q", err, want)
		}
	}
	good := &api.RecordsRequest{Records: []*api.Record{sentRecord(1, 1)}}
	if err := checkRecords(testReporter, good); err != nil {
		t.Error(err)
	}
}

// A proxy cannot show requests as another pod, nor without saying whose it is.
func TestForgedRecordsAreRefused(t *testing.T) {
	r := startViz(t, newTestCA(t))
	for name, m := range map[string]*api.RecordsRequest{
		"another pod":      introduction("web", "web-2"),
		"another workload": introduction("checkout", "web-1"),
		"another identity": {Records: []*api.Record{gotRecord(1, 1)}},
	} {
		s := r.shows("web", "web-1")
		s.send(m)
		if _, err := s.stream.Recv(); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Of what one proxy shows so much is taken in a second.
func TestAStreamIsBounded(t *testing.T) {
	var a allowed
	now := time.Unix(1_800_000_000, 0)
	for _, tt := range []struct {
		after   time.Duration
		n, want int
	}{{0, maxRecords, maxRecords}, {0, recordsPerSecond, recordsPerSecond - maxRecords},
		{time.Millisecond, 1, 0}, {time.Second, 7, 7}} {
		now = now.Add(tt.after)
		if got := a.take(now, tt.n); got != tt.want {
			t.Errorf("of %d there is room for %d, want %d", tt.n, got, tt.want)
		}
	}
}

// Whatever bytes a proxy sends, viz refuses them or shows something that can be read again, and
// that a terminal may show.
func FuzzRecordsStream(f *testing.F) {
	for _, m := range []*api.RecordsRequest{introduction("web", "web-1"),
		{Records: []*api.Record{sentRecord(1, 1), gotRecord(1)}, Dropped: 3,
			Taps: []*api.TapCount{{Id: 1, Matched: 7}, nil}},
		{Records: []*api.Record{{Labels: &api.Labels{Direction: 1}, Method: "\x1b[2J",
			LimitUs: 1, Trace: &api.RecordTrace{TraceId: make([]byte, 16),
				SpanId: make([]byte, 8)}, GrpcStatus: "14", ClientAddress: "[::1]:1"}}},
		{Endpoints: []*api.EndpointsAnswer{{Id: 2, Omitted: 1 << 31,
			Endpoints: []*api.EndpointStanding{{Cluster: "\x1b[2J", State: 4, UntilMs: 1 << 40,
				Workload: &api.Workload{Pod: "\x00"}}}}, nil}},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m api.RecordsRequest
		if proto.Unmarshal(b, &m) != nil || checkRecords(testReporter, &m) != nil {
			return
		}
		h := newHub()
		p, _ := new(TapQuery).plan()
		tap, err := h.begin(p)
		if err != nil {
			t.Fatal(err)
		}
		one := &watched{who: testReporter, ctx: t.Context(), counts: map[uint32]uint64{}}
		h.count(one, m.Taps, m.Dropped)
		fuzzAnswers(t, h, one, m.Endpoints)
		for _, r := range m.Records {
			h.take(time.Unix(0, 0), one, r)
		}
		h.halves.stop()
		for len(tap.out) > 0 {
			checkTapLine(t, <-tap.out)
		}
	})
}

// fuzzAnswers are to a question that was put to the proxy.
func fuzzAnswers(t *testing.T, h *hub, one *watched, all []*api.EndpointsAnswer) {
	h.streams[one.who] = one
	s, err := h.ask(callers{one.who: {webV1}})
	if err != nil {
		t.Fatal(err)
	}
	h.answered(one, all)
	h.over(s)
	out := &Endpoints{}
	for len(s.answers) > 0 {
		out.take(<-s.answers, resource{kind: "service"})
	}
	text, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	if printable(string(text)) != string(text) {
		t.Errorf("%q has what a terminal obeys", text)
	}
}

func checkTapLine(t *testing.T, r *TapRecord) {
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	line, err := ParseTapLine(text)
	if err != nil || line.Record == nil {
		t.Errorf("%s cannot be read again: %v", text, err)
	}
	if printable(string(text)) != string(text) {
		t.Errorf("%q has what a terminal obeys", text)
	}
}
