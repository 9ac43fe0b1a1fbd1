package forward

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/header"
	"github.com/tulle-mesh/tulle/proxy/memory"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/timer"
	"github.com/tulle-mesh/tulle/proxy/wire"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/undrawn"
	"golang.org/x/net/http2/hpack"
)

// limits are what a proxy lives by, unless a test says otherwise.
var limits = config.DefaultLimits()

// harness is a Forwarder whose connections are the test's: the callers' are made by hand, and
// destination says what the test has it say.
type harness struct {
	*Forwarder
	session *discover.Session
	dialer  *net.Dialer
	version int // of the last resource
}

func newHarness(t testing.TB) *harness {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	log := slog.New(undrawn.Refuse(t, slog.DiscardHandler, Undrawn))
	h := &harness{dialer: &net.Dialer{Timeout: limits.DialTimeout}}
	metrics := metric.NewRegistry()
	h.session = discover.New(discover.Options{Cfg: config.Config{Limits: limits}, Log: log,
		Metrics: metrics, Limited: metrics.Limited,
		Attach: Attach, Applied: Apply, Configure: func(*api.Config) error { return nil }})
	dial := func(ctx context.Context, addr string) (net.Conn, error) {
		return h.dialer.DialContext(ctx, "tcp", addr)
	}
	h.Forwarder = New(Options{Ctx: ctx, Tasks: &sync.WaitGroup{}, Limits: limits,
		Identity: "spiffe://cluster.local/ns/shop/sa/web", Log: log, Sampled: log, Metrics: metrics,
		Wheel: timer.New(), Memory: (&memory.Gauge{}).Level, Cores: 1, DialPlain: dial,
		Watch: unwatched, Strangers: &metric.Addresses{}})
	t.Cleanup(func() {
		cancel()
		h.Cut()
		await.Return(t, "the forwarder's goroutines have ended", h.Tasks.Wait)
		h.Wheel.Close()
	})
	return h
}

func unwatched(*tls.ConnectionState, net.Addr, func(), func()) (stop func()) { return func() {} }

const webAuthority = "web:80"

// say has destination say something.
func (h *harness) say(list ...*api.Resource) {
	for _, r := range list {
		h.version++
		r.Version = fmt.Sprint(h.version)
	}
	resources := &api.DiscoverResponse_Resources{Resources: &api.Resources{Resources: list}}
	h.session.Apply(&api.DiscoverResponse{Message: resources})
}

// update says which endpoints the cluster web has.
func (h *harness) update(addrs ...string) {
	list := &api.Endpoints{}
	for _, a := range addrs {
		list.Endpoints = append(list.Endpoints,
			&api.Endpoint{Id: a, Address: a, Protocol: api.Protocol_PROTOCOL_DETECT})
	}
	h.say(&api.Resource{Kind: api.Kind_KIND_CLUSTER, Name: "web",
		Body: &api.Resource_Cluster{Cluster: &api.Cluster{Name: "web",
			Balancer: &api.Cluster_Ewma{Ewma: &api.EWMA{DefaultRttMs: 1, DecayMs: 1000}}}}},
		&api.Resource{Kind: api.Kind_KIND_ENDPOINTS, Name: "web",
			Body: &api.Resource_Endpoints{Endpoints: list}})
}

// route says where the target of the tests is.
func (h *harness) route(m *api.Route) *discover.Target {
	key := &api.Key{Key: &api.Key_Authority{Authority: webAuthority}}
	target := h.session.Target(key)
	h.say(&api.Resource{Kind: api.Kind_KIND_ROUTE, Name: api.KeyString(key),
		Body: &api.Resource_Route{Route: m}})
	return target
}

// web is a caller's connection to a target with the cluster web behind it.
func (h *harness) web() *ServerConn {
	c := h.Outbound(h.route(&api.Route{Resolution: api.Resolution_RESOLUTION_FOUND,
		Protocol: api.Protocol_PROTOCOL_DETECT, Authority: webAuthority,
		Backends: []*api.Backend{{Cluster: "web", Weight: 1}}}))
	c.http1 = true
	return c
}

// cluster is the one that web goes to.
func (c *ServerConn) cluster() *balance.Cluster { return c.answer().Members[0] }

func (c *ServerConn) answer() *discover.Answer { return c.side.(*toMesh).latest() }

// answers is the caller's half of an exchange: what came back.
type answers struct {
	wire   *wire.Conn // of nothing
	mu     sync.Mutex
	status string
	head   []hpack.HeaderField // of the response
	body   []byte
	grpc   string // grpc-status, of the last head
	ended  chan struct{}
	once   sync.Once

	consumed atomic.Int64 // bytes of the request
}

func newAnswers() *answers { return &answers{wire: wire.New(nil, nil), ended: make(chan struct{})} }

func (s *answers) WriteHeaders(fields []hpack.HeaderField, end bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := header.Value(fields, ":status"); v != "" {
		s.status, s.head = v, slices.Clone(fields)
	}
	s.grpc = header.Value(fields, "grpc-status")
	s.end(end)
	return nil
}

func (s *answers) WriteData(p []byte, end bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.body = append(s.body, p...)
	s.end(end)
	return len(p)
}

func (s *answers) end(end bool) {
	if end {
		s.once.Do(func() { close(s.ended) })
	}
}

func (s *answers) Reset(code uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if code != h2.CodeNone || s.status == "" { // else it has its answer
		s.status = fmt.Sprintf("reset %d", code)
	}
	s.end(true)
}

func (s *answers) Consumed(n int)   { s.consumed.Add(int64(n)) }
func (s *answers) Wire() *wire.Conn { return s.wire }
func (s *answers) Over() bool       { return false }

func (s *answers) wait(t testing.TB) (status, body string) {
	t.Helper()
	select {
	case <-s.ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the exchange does not end")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status, string(s.body)
}

func (s *answers) awaitStatus(t testing.TB) {
	t.Helper()
	await.True(t, "a response", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.status != ""
	})
}

// newExchange is an exchange of nobody's memory.
func newExchange(c *ServerConn, s stream) *exchange { return &exchange{c: c, down: s} }

func (c *ServerConn) request(fields ...hpack.HeaderField) (*exchange, *answers) {
	return c.ask("/", true, fields...)
}

// ask is a request for a path and perhaps a query. It is only begun if it does not end here.
func (c *ServerConn) ask(
	target string, end bool, fields ...hpack.HeaderField,
) (*exchange, *answers) {
	s := newAnswers()
	x := newExchange(c, s)
	head := []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: "web"}, {Name: ":path", Value: target}}
	x.OnHeaders(append(head, fields...), end)
	c.batch.flush()
	return x, s
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	t.Cleanup(func() { l.Close() })
	return l
}

// counted counts what it accepts.
type counted struct {
	net.Listener
	n atomic.Int64
}

func (c *counted) Accept() (net.Conn, error) {
	nc, err := c.Listener.Accept()
	if err == nil {
		c.n.Add(1)
	}
	return nc, err
}

func serve(t testing.TB, body string) *counted {
	l := &counted{Listener: listen(t)}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, body)
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l
}

// holdDials lets no connection begin before hold is closed.
func holdDials(hold <-chan struct{}) func(context.Context, string, string, syscall.RawConn) error {
	return func(ctx context.Context, _, _ string, _ syscall.RawConn) error {
		select {
		case <-hold:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
