package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// GRPC is a gRPC server behind a bounded listener, for services that grpc-go's generator has made.
// HTTP/2 is the proxy's engine (proxy/h2): an idle connection has no goroutine there and no
// buffers. One of grpc-go's has three goroutines, whose stacks and buffers take more than all else
// that a server remembers of a proxy.
type GRPC struct {
	// Admit, if set before Serve, is asked for each call as soon as its headers have come; leave is
	// called when the call has ended. It must not block.
	Admit func(context.Context) (leave func(), err error)
	// Trust, if set before Serve, has the roots that callers are verified with. A caller whose
	// certificate has ended, or the trust in who signed it, is sent away with all of its calls.
	Trust *spiffe.Source

	tls     *tls.Config
	limits  Limits
	metrics *listenerMetrics
	calls   *callMetrics
	methods map[string]*method // by path

	ctx     context.Context // until Stop or GracefulStop
	cancel  context.CancelFunc
	running sync.WaitGroup // whatever has a goroutine, and sessions

	mu       sync.Mutex // guards what follows
	halted   bool
	listener net.Listener
	sessions map[*session]struct{}
}

// method is one that callers may call: unary or a stream.
type method struct {
	service any
	unary   grpc.MethodHandler
	stream  grpc.StreamHandler
	// said says that its callers may send more than one message.
	said bool
	methodMetrics
}

// NewGRPC makes a server that is called name in the metrics, which to may be nil for. Register its
// services before Serve.
func NewGRPC(name string, cfg *tls.Config, limits Limits, to prometheus.Registerer) *GRPC {
	g := &GRPC{
		tls: cfg, limits: limits, metrics: newMetrics(name, to), calls: newCallMetrics(name, to),
		methods: map[string]*method{}, sessions: map[*session]struct{}{},
	}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g
}

// RegisterService makes GRPC a grpc.ServiceRegistrar.
func (g *GRPC) RegisterService(desc *grpc.ServiceDesc, service any) {
	for _, m := range desc.Methods {
		g.methods["/"+desc.ServiceName+"/"+m.MethodName] = &method{
			service: service, unary: m.Handler,
			methodMetrics: g.calls.of("unary", desc.ServiceName, m.MethodName),
		}
	}
	for _, s := range desc.Streams {
		g.methods["/"+desc.ServiceName+"/"+s.StreamName] = &method{
			service: service, stream: s.Handler, said: s.ClientStreams,
			methodMetrics: g.calls.of(streamType(s), desc.ServiceName, s.StreamName),
		}
	}
}

func streamType(s grpc.StreamDesc) string {
	switch {
	case s.ClientStreams && s.ServerStreams:
		return "bidi_stream"
	case s.ClientStreams:
		return "client_stream"
	}
	return "server_stream"
}

// Serve answers on l until Stop or GracefulStop, and returns when all calls have ended. It closes
// l.
func (g *GRPC) Serve(l net.Listener) error {
	if !g.begin(func() { g.listener = l }) {
		l.Close()
		return nil
	}
	if g.Trust != nil {
		g.running.Go(g.followTrust)
	}
	err := g.accept(secure(l, g.limits, g.metrics))
	g.running.Done()
	if g.ctx.Err() == nil {
		l.Close()
		return err // Stop is still to be called
	}
	g.running.Wait()
	return nil
}

// accept lets callers in until the listener fails.
func (g *GRPC) accept(l net.Listener) error {
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			g.welcome(c.(*conn))
		case g.ctx.Err() != nil || !isShortage(err):
			return err
		default:
			pause(g.ctx, acceptPause)
		}
	}
}

// acceptPause is how long nobody is let in when the process, or the machine, has no more of what a
// connection needs.
const acceptPause = 50 * time.Millisecond

func isShortage(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// begin counts something that running waits for, and does what it needs under the lock. It is false
// once the server is to stop.
func (g *GRPC) begin(locked func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.halted {
		return false
	}
	locked()
	g.running.Add(1)
	return true
}

// welcome has a new connection's handshake done beside others.
func (g *GRPC) welcome(c *conn) {
	if !g.begin(func() {}) {
		c.Close()
		return
	}
	go func() {
		defer g.running.Done()
		g.greet(c)
	}()
}

// followTrust sends callers away whom today's roots do not vouch for.
func (g *GRPC) followTrust() {
	for {
		changed := g.Trust.BundlesChanged()
		for _, s := range g.all() {
			s.verify()
		}
		select {
		case <-changed:
		case <-g.ctx.Done():
			return
		}
	}
}

func (g *GRPC) all() []*session {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := make([]*session, 0, len(g.sessions))
	for s := range g.sessions {
		out = append(out, s)
	}
	return out
}

// Stop ends every call and every connection at once, and waits until their goroutines have ended.
func (g *GRPC) Stop() {
	g.halt()
	for _, s := range g.all() {
		s.conn.Close()
	}
	g.running.Wait()
}

// GracefulStop takes no more connections and calls, and waits until those that are open have ended.
func (g *GRPC) GracefulStop() {
	g.halt()
	for _, s := range g.all() {
		s.h2.GoAway()
	}
	g.running.Wait()
}

func (g *GRPC) halt() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.halted = true
	g.cancel()
	if g.listener != nil {
		g.listener.Close()
	}
}
