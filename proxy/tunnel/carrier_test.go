package tunnel

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/detect"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/memory"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

// limits are what a proxy lives by, unless a test says otherwise.
var limits = config.DefaultLimits()

func newCarrier(t testing.TB) *Carrier {
	return New(Options{
		Ctx: t.Context(), Limits: limits, Log: slog.New(slog.DiscardHandler),
		Sampled: slog.New(slog.DiscardHandler), Metrics: metric.NewRegistry(),
		Memory: &memory.Gauge{}, Dialer: &net.Dialer{Timeout: limits.DialTimeout},
		Strangers: &metric.Addresses{},
		Watch: func(*tls.ConnectionState, net.Addr, func(), func()) (stop func()) {
			return func() {}
		},
	})
}

func newSession() *discover.Session {
	return discover.New(discover.Options{
		Cfg: config.Config{Limits: limits}, Log: slog.New(slog.DiscardHandler),
		Attach: func() any { return nil }, Applied: func(balance.Change) {},
	})
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

// outside is a target that is not the mesh's.
func outside(addr string) *discover.Target {
	return routed(addr, &api.Route{
		Resolution: api.Resolution_RESOLUTION_OUTSIDE, Protocol: api.Protocol_PROTOCOL_DETECT,
	})
}

// routed is a target that destination has answered for.
func routed(addr string, m *api.Route) *discover.Target {
	d, key := newSession(), &api.Key{Key: &api.Key_Authority{Authority: addr}}
	target := d.Target(key)
	resource := &api.Resource{
		Kind: api.Kind_KIND_ROUTE, Name: api.KeyString(key), Version: "1",
		Body: &api.Resource_Route{Route: m},
	}
	d.Apply(&api.DiscoverResponse{Message: &api.DiscoverResponse_Resources{
		Resources: &api.Resources{Resources: []*api.Resource{resource}},
	}})
	return target
}

// piped is a pipe for want of a TCP connection: its halves end together.
type piped struct{ net.Conn }

func (p piped) CloseWrite() error { return p.Close() }

// greeter is an application that says hello and waits for the end.
func greeter(t testing.TB) (addr string, accepted *atomic.Int64) {
	l, accepted := listen(t), new(atomic.Int64)
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			nc.Write([]byte("hello"))
			nc.(*net.TCPConn).CloseWrite()
		}
	}()
	return l.Addr().String(), accepted
}

// A name that is not the cluster's is reached as it stands.
func TestAnOutsideAuthorityIsPassedThrough(t *testing.T) {
	addr, _ := greeter(t)
	down, up := net.Pipe()
	defer down.Close()
	go func() {
		defer up.Close()
		first := detect.First{Bytes: []byte("GET / HTTP/1.0\r\n\r\n")}
		newCarrier(t).Outbound(piped{up}, outside(addr), Declared(first))
	}()
	check(t, down.SetDeadline(time.Now().Add(10*time.Second)))
	got := make([]byte, 5)
	if _, err := io.ReadFull(down, got); err != nil || string(got) != "hello" {
		t.Errorf("opaque: %q, %v", got, err)
	}
}

// A proxy without memory takes no opaque connections either: two buffers each are more than a
// request needs.
func TestOpaqueConnectionsAreShedToo(t *testing.T) {
	addr, accepted := greeter(t)
	c, in := newCarrier(t), newSession().Port(8080)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1))
	arrival := &discover.Arrival{
		Port: in, App: in.Application(addr), Caller: authorize.Caller{Security: metric.Loopback},
	}
	for name, forward := range map[string]func(net.Conn){
		"outbound": func(nc net.Conn) { c.Outbound(nc, outside(addr), Words{}) },
		"inbound":  func(nc net.Conn) { c.Inbound(nc, arrival, Words{}) },
	} {
		near, far := net.Pipe()
		check(t, near.SetDeadline(time.Now().Add(5*time.Second)))
		go func() {
			defer far.Close()
			forward(piped{far})
		}()
		if _, err := near.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: %v, want the end", name, err)
		}
		near.Close()
	}
	if n := accepted.Load(); n > 0 {
		t.Errorf("%d connections were made", n)
	}
}

// pair is the two ends of a TCP connection.
func pair(t *testing.T) (caller, accepted *net.TCPConn) {
	l := listen(t)
	near, err := net.Dial("tcp", l.Addr().String())
	check(t, err)
	far, err := l.Accept()
	check(t, err)
	t.Cleanup(func() { near.Close(); far.Close() })
	check(t, near.SetDeadline(time.Now().Add(10*time.Second)))
	return near.(*net.TCPConn), far.(*net.TCPConn)
}

// Who is refused, or for whom there is no memory, is reset: an orderly end would be taken for an
// answer.
func TestWhoIsRefusedIsReset(t *testing.T) {
	addr, _ := greeter(t)
	in := newSession().Port(8080) // destination has not said who may call it
	stranger := &discover.Arrival{
		Port: in, App: in.Application(addr),
		Caller: authorize.Caller{Security: metric.PlaintextUnmeshed},
	}
	for name, tt := range map[string]struct {
		forward func(*Carrier, net.Conn)
		full    bool
	}{
		"inbound, not allowed": {forward: func(c *Carrier, nc net.Conn) {
			c.Inbound(nc, stranger, Words{})
		}},
		"inbound, silent": {forward: func(c *Carrier, nc net.Conn) {
			c.InboundSilent(nc, stranger, detect.First{})
		}},
		"outbound, full": {forward: func(c *Carrier, nc net.Conn) {
			c.Outbound(nc, outside(addr), Words{})
		}, full: true},
		"outbound silent, full": {forward: func(c *Carrier, nc net.Conn) {
			c.OutboundSilent(nc, outside(addr), detect.First{})
		}, full: true},
		"outbound, nobody there": {forward: func(c *Carrier, nc net.Conn) {
			c.Outbound(nc, outside("127.0.0.1:1"), Words{})
		}},
		"outbound, an answer to requests": {forward: func(c *Carrier, nc net.Conn) {
			c.Outbound(nc, routed("web:80", &api.Route{
				Resolution: api.Resolution_RESOLUTION_FOUND,
				Protocol:   api.Protocol_PROTOCOL_OPAQUE,
				Backends:   []*api.Backend{{Weight: 1, Answer: 500}},
			}), Words{})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.full {
				defer debug.SetMemoryLimit(debug.SetMemoryLimit(1))
			}
			caller, accepted := pair(t)
			tt.forward(newCarrier(t), accepted)
			accepted.Close() // as whoever accepted it does
			if _, err := caller.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("%v, want a reset", err)
			}
		})
	}
}
