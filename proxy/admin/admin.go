package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/proxy/h1"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/wire"
)

const (
	// maxHeaderBytes and maxHeaderFields bound a request's head.
	maxHeaderBytes  = 8 << 10
	maxHeaderFields = 50
	// maxBody bounds a request's body, in bytes. The only one is the name of a level.
	maxBody = 64
	// maxScrapes bounds the scrapes that are under way at once. With a full table of series one
	// makes 1 MB of garbage.
	maxScrapes = 2
	// acceptPause is how long the listener rests after an error such as "too many open files".
	acceptPause = 50 * time.Millisecond
)

// timeouts are data, so that a test need not wait for them.
type timeouts struct {
	// header is for a request's head: a probe's is one packet.
	header time.Duration
	// request is from the end of a head until the kernel has taken the answer.
	request time.Duration
	// idle is how long a connection is kept without a request.
	idle time.Duration
}

// defaultTimeouts let a scraper keep its connection. Prometheus gives a scrape 10 s by default, and
// usually scrapes at least once a minute.
var defaultTimeouts = timeouts{
	header:  5 * time.Second,
	request: 10 * time.Second,
	idle:    2 * time.Minute,
}

// Options are what a Server shows and does. All fields but Log and Pages are required.
type Options struct {
	Registry *metric.Registry
	Unready  func() []string // why the proxy is not ready, in words; empty: it is
	Shutdown func()          // begins to drain and does not wait; called at most once
	Level    *slog.LevelVar
	Version  string
	Log      *slog.Logger
	Pages    []Page // beside the server's own
}

// Server is the admin port of one proxy.
type Server struct {
	o        Options
	timeouts timeouts
	start    time.Time
	routes   []route
	shutdown sync.Once
	passing  passing
	limiter  limiter
	scrapes  atomic.Int32
	tasks    sync.WaitGroup // connections, and pages that are being made

	mu       sync.Mutex // guards what follows
	listener net.Listener
	conns    map[*conn]struct{}
	closed   bool
}

// conn is a connection of a peer.
type conn struct {
	s        *Server
	h1       *h1.Conn
	wire     *wire.Conn
	peer     net.Addr
	loopback bool
	silent   *time.Timer // closes a connection whose first request does not come
}

// New makes a server; Serve starts it.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, timeouts: defaultTimeouts, start: time.Now(),
		routes:  slices.Clone(routes),
		limiter: limiter{by: map[netip.Addr]int{}}, conns: map[*conn]struct{}{}}
	for _, p := range o.Pages {
		s.routes = append(s.routes, p.route())
	}
	return s
}

// Serve answers on l until Close; then it returns nil. It closes l.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	if !s.listenOn(l) {
		return nil
	}
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			s.accept(nc)
		case s.isClosed():
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("serve admin on %s: %w", l.Addr(), err)
		default:
			s.o.Log.Warn("cannot accept a connection on the admin port", "err", err)
			time.Sleep(acceptPause)
		}
	}
}

// listenOn notes the listener for Close. It reports false if the server is closed already.
func (s *Server) listenOn(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener = l
	return !s.closed
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Server) accept(nc net.Conn) {
	peer := addrOf(nc)
	if !s.limiter.enter(peer) {
		nc.Close()
		return
	}
	c := s.newConn(nc, peer)
	if !s.track(c) {
		c.wire.Close()
		s.limiter.leave(peer)
		return
	}
	c.h1.Start(func(err error) {
		defer s.tasks.Done()
		c.silent.Stop()
		s.limiter.leave(peer)
		s.forget(c)
		s.o.Log.Debug("a connection to the admin port ended", "peer", c.peer, "err", err)
	})
}

func (s *Server) newConn(nc net.Conn, peer netip.Addr) *conn {
	c := &conn{s: s, peer: nc.RemoteAddr(), loopback: peer.IsLoopback(), wire: wire.New(nc, nil)}
	c.wire.Stall = s.timeouts.request
	c.silent = time.AfterFunc(s.timeouts.header, func() { c.wire.Close() })
	c.h1 = h1.NewServer(c.wire, h1.Options{
		OnStream:        c.begin,
		OnBatch:         c.wire.Flush,
		MaxHeaderBytes:  maxHeaderBytes,
		MaxHeaderFields: maxHeaderFields,
		HeaderTimeout:   s.timeouts.header,
		IdleTimeout:     s.timeouts.idle,
	})
	return c
}

// track notes c for Close. It reports false if the server is closed.
func (s *Server) track(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.tasks.Add(1)
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) forget(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// Close stops accepting, lets requests end until ctx is done, and then cuts them off.
func (s *Server) Close(ctx context.Context) error {
	s.endPassing()
	ended := make(chan struct{})
	for _, c := range s.stopAccepting() {
		c.h1.GoAway()
	}
	go func() {
		s.tasks.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	for _, c := range s.connections() {
		c.wire.Close()
	}
	<-ended
	return ctx.Err()
}

// stopAccepting ends the listener and returns the connections.
func (s *Server) stopAccepting() []*conn {
	s.mu.Lock()
	s.closed = true
	if s.listener != nil {
		s.listener.Close() // Serve returns, and so does its defer: an error says nothing more
	}
	s.mu.Unlock()
	return s.connections()
}

// connections are those that have not ended.
func (s *Server) connections() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	return all
}
