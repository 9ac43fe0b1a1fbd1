package proxy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/detect"
	"github.com/tulle-mesh/tulle/proxy/wire"
	"github.com/tulle-mesh/tulle/test/await"
	"golang.org/x/net/http2/hpack"
)

// answers is the caller's half of an exchange: what came back.
type answers struct {
	wire   *wire.Conn // of nothing
	mu     sync.Mutex
	status string
	body   []byte
	ended  chan struct{}
	once   sync.Once
}

func newAnswers() *answers { return &answers{wire: wire.New(nil, nil), ended: make(chan struct{})} }

func (s *answers) WriteHeaders(fields []hpack.HeaderField, end bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := value(fields, ":status"); v != "" {
		s.status = v
	}
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
	s.status = fmt.Sprintf("reset %d", code)
	s.end(true)
}

func (s *answers) Consumed(int)     {}
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

// idleProxy is a proxy that is not running: its stages are called by hand.
func idleProxy(t testing.TB) *Proxy {
	t.Helper()
	p, err := New(config.Config{Identity: "spiffe://cluster.local/ns/shop/sa/web", TokenFile: "none", Limits: limits}, "test",
		slog.New(RefuseUndrawn(t, slog.DiscardHandler)), &slog.LevelVar{})
	check(t, err)
	t.Cleanup(func() {
		p.cancel()
		p.clients.each(func(c *clientConn) { c.wire.Close() })
		await.Return(t, "the proxy's goroutines have ended", p.tasks.Wait)
		p.wheel.Close()
	})
	return p
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// outbound is a caller's connection to a target with one cluster behind it.
func (p *Proxy) outboundTo(c *cluster) *serverConn {
	tg := p.discovery.target(&api.Key{Key: &api.Key_Authority{Authority: "web:80"}})
	r := &route{resolution: api.Resolution_RESOLUTION_FOUND, fallback: &rule{backends: &picker{backends: []backend{{cluster: c, upTo: 1}}, total: 1}}, budget: tg.budget}
	tg.answer(r)
	return &serverConn{p: p, http1: true, target: tg, dst: "web"}
}

// newExchange is an exchange of nobody's memory.
func newExchange(c *serverConn, s stream) *exchange { return &exchange{c: c, down: s} }

func (c *serverConn) request(fields ...hpack.HeaderField) (*exchange, *answers) {
	s := newAnswers()
	x := newExchange(c, s)
	head := []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "web"}, {Name: ":path", Value: "/"}}
	x.OnHeaders(append(head, fields...), true)
	c.batch.flush()
	return x, s
}

func update(c *cluster, addrs ...string) {
	var list []*api.Endpoint
	for _, a := range addrs {
		list = append(list, &api.Endpoint{Id: a, Address: a})
	}
	ch := c.update(ewmaParams{time.Millisecond, time.Second}, list, now())
	ch.apply()
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
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) })}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l
}

// A request that waits for a connection to an endpoint goes to another when that endpoint leaves.
func TestWaitersOfALeavingEndpointGoElsewhere(t *testing.T) {
	p := idleProxy(t)
	old, next := serve(t, "old"), serve(t, "next")
	c := &cluster{name: "web"}
	update(c, old.Addr().String())
	hold := make(chan struct{})
	p.dialer.ControlContext = holdDials(hold)
	_, answer := p.outboundTo(c).request()
	update(c, next.Addr().String())
	close(hold)
	began := time.Now()
	if status, body := answer.wait(t); status != "200" || body != "next" {
		t.Errorf("status %s, body %q; want 200 from the endpoint that is there", status, body)
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("took %v", d)
	}
	if n := old.n.Load(); n > 1 {
		t.Errorf("dialed the endpoint that left %d times", n)
	}
}

// With no endpoint left, it waits for one as any request does.
func TestWaitersOfTheLastEndpointWaitForAnother(t *testing.T) {
	p := idleProxy(t)
	old, next := serve(t, "old"), serve(t, "next")
	c := &cluster{name: "web"}
	update(c, old.Addr().String())
	hold := make(chan struct{})
	p.dialer.ControlContext = holdDials(hold)
	_, answer := p.outboundTo(c).request()
	update(c)
	close(hold)
	update(c, next.Addr().String())
	if status, body := answer.wait(t); status != "200" || body != "next" {
		t.Errorf("status %s, body %q; want 200 from the endpoint that came", status, body)
	}
}

// What HTTP/1 cannot say is an error at once, however many connections there are.
func TestARequestThatCannotBeWrittenIsRefusedAtOnce(t *testing.T) {
	p := idleProxy(t)
	app := serve(t, "yes")
	c := &cluster{name: "web"}
	update(c, app.Addr().String())
	conn := p.outboundTo(c)
	for range 3 {
		_, answer := conn.request(hpack.HeaderField{Name: "x-bad", Value: "\x01"})
		if status, _ := answer.wait(t); status != "400" {
			t.Errorf("status %s, want 400", status)
		}
	}
	if _, answer := conn.request(); true {
		if status, _ := answer.wait(t); status != "200" {
			t.Errorf("after it: status %s, want 200", status)
		}
	}
	if n := app.n.Load(); n != 1 {
		t.Errorf("made %d connections, want 1", n)
	}
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

// A name that is not the cluster's is reached as it stands.
func TestAnOutsideAuthorityIsPassedThrough(t *testing.T) {
	p := idleProxy(t)
	app := serve(t, "outside")
	tg := p.discovery.target(&api.Key{Key: &api.Key_Authority{Authority: app.Addr().String()}})
	tg.answer(&route{resolution: api.Resolution_RESOLUTION_OUTSIDE, fallback: &rule{backends: &picker{}}, budget: tg.budget})
	conn := &serverConn{p: p, http1: true, target: tg}
	_, answer := conn.request()
	if status, body := answer.wait(t); status != "200" || body != "outside" {
		t.Errorf("status %s, body %q", status, body)
	}
	down, up := net.Pipe()
	defer down.Close()
	go func() {
		defer up.Close()
		p.forwardOutbound(piped{up}, conn, declared(detect.First{Bytes: []byte("GET / HTTP/1.0\r\n\r\n")}))
	}()
	check(t, down.SetDeadline(time.Now().Add(10*time.Second)))
	got, err := io.ReadAll(down)
	if err != nil || !strings.HasSuffix(string(got), "outside") {
		t.Errorf("opaque: %q, %v", got, err)
	}
}

// piped is a pipe for want of a TCP connection: its halves end together.
type piped struct{ net.Conn }

func (p piped) CloseWrite() error { return p.Close() }

// What nobody refers to any more may be forgotten; a connection that still does goes on with what it knew.
func TestAForgottenTargetServesUntilItIsKnownAnew(t *testing.T) {
	p := idleProxy(t)
	app := serve(t, "yes")
	c := &cluster{name: "web"}
	update(c, app.Addr().String())
	conn := p.outboundTo(c)
	for i := range limits.MaxTargets {
		p.discovery.target(&api.Key{Key: &api.Key_Authority{Authority: fmt.Sprintf("other-%d:80", i)}})
	}
	if !conn.target.evicted.Load() {
		t.Fatal("the target is still remembered")
	}
	_, answer := conn.request()
	if status, body := answer.wait(t); status != "200" {
		t.Errorf("status %s, %q", status, body)
	}
}

// A scan through all ports must not make the proxy forget how strict the served ones are.
func TestAPortScanForgetsNoServedPort(t *testing.T) {
	p := idleProxy(t)
	app := serve(t, "yes")
	in := p.discovery.inbound(8080)
	m := p.defaultInbound(8080)
	m.DefaultAction = api.Action_ACTION_DENY
	m.Authorizations = []*api.Authorization{{Identities: []string{"spiffe://cluster.local/ns/shop/sa/friend"}}}
	pol, err := in.compile(m)
	check(t, err)
	in.update(pol)
	conn := &serverConn{p: p, inbound: true, http1: true, port: in, number: 8080, app: backend{cluster: in.application(app.Addr().String())}}
	conn.caller.id = "spiffe://cluster.local/ns/shop/sa/friend"
	_, answer := conn.request(hpack.HeaderField{Name: headerProto, Value: protoHTTP1})
	if status, body := answer.wait(t); status != "200" {
		t.Fatalf("status %s, %q", status, body)
	}
	for port := range uint16(5000) {
		p.discovery.inbound(10000 + port)
	}
	if n := p.discovery.inbounds.Len(); n > 2*maxInboundPorts {
		t.Errorf("%d ports are remembered", n)
	}
	if p.discovery.inbound(8080).policy.Load().verdict("spiffe://cluster.local/ns/shop/sa/stranger") == nil {
		t.Error("a stranger is let in after a scan")
	}
}
