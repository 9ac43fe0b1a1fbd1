package viz

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/viz/api"
	"github.com/tulle-mesh/tulle/viz/api/vizgrpc"
)

// running is a viz on loopback sockets.
type running struct {
	t       *testing.T
	ca      *testCA
	source  *spiffe.Source
	reports string
	client  *Client
	server  *Server
	stop    func()
}

func startViz(t *testing.T, ca *testCA) *running {
	t.Helper()
	return startVizOf(t, ca, Config{})
}

// startVizOf starts one that is configured like cfg.
func startVizOf(t *testing.T, ca *testCA, cfg Config) *running {
	t.Helper()
	source := ca.source("tulle", "tulle-viz", "tulle-viz-0", time.Hour)
	reports, queries := listen(t), listen(t)
	cfg.Source, cfg.TrustDomain, cfg.Log = source, testDomain, slog.New(slog.DiscardHandler)
	v := New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Serve(ctx, reports, queries) }()
	r := &running{t: t, ca: ca, source: source, reports: reports.Addr().String(),
		client: NewClient(queries.Addr().String()), server: v}
	stopped := false
	r.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve ended with %v", err)
		}
	}
	t.Cleanup(r.stop)
	return r
}

func listen(t *testing.T) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// proxy is one report stream of a test's proxy.
type proxy struct {
	t      *testing.T
	stream grpc.BidiStreamingClient[api.ReportRequest, api.ReportResponse]
	close  func()
	seq    uint64
}

func (r *running) dial(source *spiffe.Source) *proxy {
	r.t.Helper()
	server, _ := spiffe.ForWorkload(testDomain, "tulle", "tulle-viz")
	tls := spiffe.ClientConfig(source, server, []string{"h2"}, "tulle-viz.tulle.svc")
	conn, err := grpc.NewClient(r.reports, grpc.WithTransportCredentials(credentials.NewTLS(tls)))
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	p := &proxy{t: r.t, close: func() { cancel(); conn.Close() }}
	r.t.Cleanup(p.close)
	if p.stream, err = vizgrpc.NewVizClient(conn).Report(ctx); err != nil {
		r.t.Fatal(err)
	}
	return p
}

// send reports, and waits until viz has taken or refused it.
func (p *proxy) send(m *api.ReportRequest) error {
	p.seq++
	m.Sequence = p.seq
	p.stream.Send(m) // a stream that is over says why to Recv
	answer, err := p.stream.Recv()
	if err != nil {
		return err
	}
	if answer.Acknowledged != p.seq || answer.IntervalMs == 0 {
		p.t.Errorf("report %d was answered by %v", p.seq, answer)
	}
	return nil
}

func (p *proxy) mustSend(m *api.ReportRequest) {
	p.t.Helper()
	if err := p.send(m); err != nil {
		p.t.Fatal(err)
	}
}

func webReport(uptime time.Duration, requests uint64) *api.ReportRequest {
	return &api.ReportRequest{
		StartId: "first", UptimeMs: uint64(uptime.Milliseconds()),
		Workload: &api.Workload{Namespace: "shop", Kind: "deployment", Name: "web", Pod: "web-1"},
		Series: []*api.Series{{
			Id: 1, Labels: &api.Labels{Direction: api.Direction_DIRECTION_INBOUND},
			Requests: requests, Failures: requests / 10,
			Bucket: []uint32{8}, BucketCount: []uint64{requests},
		}},
	}
}

func (r *running) deploy(name string) StatRow {
	r.t.Helper()
	answer, err := r.client.Stat(context.Background(), Query{Resource: "deploy/" + name})
	if err != nil {
		r.t.Fatal(err)
	}
	if len(answer.Rows) != 1 {
		r.t.Fatalf("stat deploy/%s has %d rows: %+v", name, len(answer.Rows), answer.Rows)
	}
	return answer.Rows[0]
}

func TestReportOverTLS(t *testing.T) {
	ca := newTestCA(t)
	r := startViz(t, ca)
	p := r.dial(ca.source("shop", "web", "web-1", time.Hour))
	p.mustSend(webReport(time.Second, 100))
	p.mustSend(webReport(2*time.Second, 200))
	row := r.deploy("web")
	if row.Requests != 200 || row.Failures != 20 || !row.Meshed || row.Proxies != 1 ||
		row.RPS != 100 {
		t.Errorf("row is %+v", row)
	}
	if row.SuccessRate == nil || *row.SuccessRate != 0.9 {
		t.Errorf("success rate is %v", row.SuccessRate)
	}
}

func TestVizRestartKeepsTotalsAndDoesNotSpike(t *testing.T) {
	ca := newTestCA(t)
	first := startViz(t, ca)
	source := ca.source("shop", "web", "web-1", time.Hour)
	p := first.dial(source)
	p.mustSend(webReport(10*time.Minute, 60_000))
	first.stop()
	if err := p.send(webReport(10*time.Minute, 60_000)); status.Code(err) != codes.Unavailable {
		t.Errorf("a stream of a stopping viz ended with %v", err)
	}
	second := startViz(t, ca)
	p = second.dial(source)
	p.mustSend(webReport(10*time.Minute+time.Second, 60_100))
	if row := second.deploy("web"); row.Requests != 60_100 || row.RPS != 0 ||
		row.SuccessRate != nil {
		t.Errorf("after the first report the row is %+v", row)
	}
	p.mustSend(webReport(10*time.Minute+2*time.Second, 60_200))
	if row := second.deploy("web"); row.Requests != 60_200 || row.RPS != 100 {
		t.Errorf("after the second report the row is %+v", row)
	}
}

func TestForgedReportsAreRefused(t *testing.T) {
	ca := newTestCA(t)
	r := startViz(t, ca)
	forge := func(change func(*api.ReportRequest)) *api.ReportRequest {
		m := webReport(time.Second, 1)
		change(m)
		return m
	}
	for name, c := range map[string]struct {
		report *api.ReportRequest
		code   codes.Code
		why    string
	}{
		"namespace": {forge(func(m *api.ReportRequest) { m.Workload.Namespace = "bank" }),
			codes.PermissionDenied, `for namespace "bank"`},
		"pod": {forge(func(m *api.ReportRequest) { m.Workload.Pod = "web-2" }),
			codes.PermissionDenied, `for pod "web-2"`},
		"workload": {forge(func(m *api.ReportRequest) { m.Workload.Name = "checkout" }),
			codes.PermissionDenied, `workload "checkout"`},
		"prefix": {forge(func(m *api.ReportRequest) { m.Workload.Name = "we" }),
			codes.PermissionDenied, `workload "we"`},
		"own id": {forge(func(m *api.ReportRequest) {
			m.Series[0].Labels.OwnId = "spiffe://cluster.local/ns/bank/sa/web"
		}), codes.PermissionDenied, "claims to be"},
	} {
		t.Run(name, func(t *testing.T) {
			err := r.dial(ca.source("shop", "web", "web-1", time.Hour)).send(c.report)
			if status.Code(err) != c.code ||
				!strings.Contains(status.Convert(err).Message(), c.why) {
				t.Errorf("refused with %v, want %s and %q", err, c.code, c.why)
			}
		})
	}
	if answer, err := r.client.Stat(context.Background(), Query{Resource: "deploy"}); err != nil ||
		len(answer.Rows) != 0 {
		t.Errorf("after forged reports stat says %+v, %v", answer, err)
	}
}

func TestWhoMayNotReport(t *testing.T) {
	ca := newTestCA(t)
	r := startViz(t, ca)
	err := r.dial(ca.source("shop", "web", "", time.Hour)).send(webReport(time.Second, 1))
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("an SVID without a pod ended with %v", err)
	}
	stranger := newTestCA(t).source("shop", "web", "web-1", time.Hour)
	stranger.SetBundle(testDomain, []*x509.Certificate{ca.cert})
	if err := r.tryDial(stranger); err == nil {
		t.Error("an SVID of an unknown CA was let in")
	}
}

// tryDial is for callers who are to be stopped at the handshake.
func (r *running) tryDial(source *spiffe.Source) error {
	server, _ := spiffe.ForWorkload(testDomain, "tulle", "tulle-viz")
	tls := spiffe.ClientConfig(source, server, []string{"h2"}, "")
	conn, err := grpc.NewClient(r.reports, grpc.WithTransportCredentials(credentials.NewTLS(tls)))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	stream, err := vizgrpc.NewVizClient(conn).Report(ctx)
	if err != nil {
		return err
	}
	_, err = stream.Recv()
	return err
}

func TestStreamEndsWithItsRoot(t *testing.T) {
	ca := newTestCA(t)
	r := startViz(t, ca)
	p := r.dial(ca.source("shop", "web", "web-1", time.Hour))
	p.mustSend(webReport(time.Second, 1))
	r.source.SetBundle(testDomain, []*x509.Certificate{newTestCA(t).cert})
	_, err := p.stream.Recv()
	if status.Code(err) != codes.Unauthenticated ||
		!strings.Contains(err.Error(), "no longer trusted") {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestStreamEndsWithItsCertificate(t *testing.T) {
	ca := newTestCA(t)
	r := startViz(t, ca)
	p := r.dial(ca.source("shop", "web", "web-1", 2*time.Second))
	p.mustSend(webReport(time.Second, 1))
	_, err := p.stream.Recv()
	if status.Code(err) != codes.Unauthenticated || !strings.Contains(err.Error(), "expired") {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestNewerStreamReplacesOlder(t *testing.T) {
	ca := newTestCA(t)
	r := startViz(t, ca)
	source := ca.source("shop", "web", "web-1", time.Hour)
	old := r.dial(source)
	old.mustSend(webReport(time.Second, 100))
	again := r.dial(source)
	again.mustSend(webReport(2*time.Second, 150))
	if _, err := old.stream.Recv(); !strings.Contains(err.Error(), "newer stream") {
		t.Errorf("the older stream ended with %v", err)
	}
	if row := r.deploy("web"); row.Requests != 150 || row.RPS != 75 || row.Proxies != 1 {
		t.Errorf("row is %+v", row)
	}
}

func TestGarbageOnTheReportPort(t *testing.T) {
	ca := newTestCA(t)
	r := startViz(t, ca)
	for _, bytes := range []string{
		"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\xff\xff", "\x00",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		c, err := net.Dial("tcp", r.reports)
		if err != nil {
			t.Fatal(err)
		}
		c.Write([]byte(bytes))
		c.Close()
	}
	r.dial(ca.source("shop", "web", "web-1", time.Hour)).mustSend(webReport(time.Second, 1))
}
