package forward

import (
	"net/http"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/test/await"
)

// keeper is an exchange's memory, which notes that it was given back.
type keeper struct{ recycled atomic.Bool }

func (k *keeper) recycle() { k.recycled.Store(true) }

// restful is a caller's engine, of which only this is asked.
type restful struct {
	server
	busy *atomic.Bool
}

func (r restful) Resting() bool { return !r.busy.Load() }

// over is a caller's stream that its connection has forgotten.
type over struct{ *answers }

func (over) Over() bool { return true }

// sizeClass is what the allocator gives for an exchange with its stream; one byte more, and it
// gives an eighth more.
const sizeClass = 1024

func TestAnExchangeFitsItsSizeClass(t *testing.T) {
	for _, n := range []uintptr{unsafe.Sizeof(http1Exchange{}), unsafe.Sizeof(http2Exchange{})} {
		if n > sizeClass {
			t.Errorf("an exchange has %d bytes, more than %d", n, sizeClass)
		}
	}
}

// An exchange is recycled if nobody but its connections has ever known it, and they have forgotten
// it.
func TestOnlyWhatIsForgottenIsRecycled(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	failed := map[string]bool{}
	l := listen(t)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/wait":
			asked <- struct{}{}
			<-answer
		case "/retry":
			if !failed["/retry"] {
				failed["/retry"] = true
				w.WriteHeader(503)
			}
		}
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	for _, tt := range []struct {
		name, path string
		busy       bool // the caller's reader has a turn
		known      bool // to the caller's connection
		retry      bool
		meanwhile  func(*exchange) // before the answer, with the lock held
		want       bool
	}{
		{name: "answered", path: "/", want: true},
		{name: "answered late", path: "/wait", meanwhile: func(*exchange) {}, want: true},
		{name: "the caller's reader is busy", path: "/", busy: true},
		{name: "the caller's stream goes on", path: "/", known: true},
		{name: "an upgrade", path: "/upgrade"},
		{name: "retried", path: "/retry", retry: true},
		{name: "held", path: "/wait", meanwhile: func(x *exchange) {
			x.hold(&x.first.held, 1)
			x.progressed(&x.first.held, 1)
		}},
		{name: "a timer fired", path: "/wait", meanwhile: func(x *exchange) {
			x.c.f.Wheel.Arm(&x.stall, 0, x)
			x.mu.Unlock()
			await.True(t, "the timer fires", func() bool {
				return x.c.f.Wheel.Armed() == 0
			})
			x.mu.Lock()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newHarness(t)
			p.update(l.Addr().String())
			conn := p.web()
			var busy atomic.Bool
			conn.engine = restful{busy: &busy}
			waited := start(conn, "/", false) // for the connection
			waited.down.wait(t)
			awaitIdle(t, conn.cluster())
			if tt.retry {
				u := conn.answer().Fallback
				u.Retry, u.MaxTries = true, 2
			}
			busy.Store(tt.busy)
			x := start(conn, tt.path, tt.known)
			if tt.meanwhile != nil {
				await.Receive(t, "the request arrives", asked)
				x.mu.Lock()
				tt.meanwhile(x.exchange)
				x.mu.Unlock()
				answer <- struct{}{}
			}
			x.down.wait(t)
			awaitIdle(t, conn.cluster())
			busy.Store(false)
			// on the same connection: once it is recycled, what came before is settled
			last := start(conn, "/", false)
			await.True(t, "the last exchange is recycled", last.memory.(*keeper).recycled.Load)
			if got := x.memory.(*keeper).recycled.Load(); got != tt.want {
				t.Errorf("recycled: %v", got)
			}
			if waited.memory.(*keeper).recycled.Load() {
				t.Error("one that was in a queue was recycled")
			}
		})
	}
}

// started is an exchange and what its caller gets.
type started struct {
	*exchange
	down *answers
}

func start(c *ServerConn, path string, known bool) started {
	s := started{down: newAnswers()}
	var down stream = over{s.down}
	if known {
		down = s.down
	}
	s.exchange = newExchange(c, down)
	s.memory = &keeper{}
	head := []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: "web"}, {Name: ":path", Value: path}}
	if path == "/upgrade" {
		head[0].Value = "CONNECT"
		head = append(head, hpack.HeaderField{Name: ":protocol", Value: "websocket"})
	}
	s.OnHeaders(head, true)
	c.batch.flush()
	return s
}

// awaitIdle waits until the next request need not wait for the cluster's connection.
func awaitIdle(t *testing.T, c *balance.Cluster) {
	t.Helper()
	await.True(t, "the connection is idle", func() bool {
		pool := transportOf(c.First()).pools.byKind[plainHTTP1]
		pool.mu.Lock()
		defer pool.mu.Unlock()
		return len(pool.idle) == 1
	})
}
