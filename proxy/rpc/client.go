package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/wire"
)

const (
	// DefaultKeepAlive is how long a server may say nothing before it gets a PING, and how long it
	// may take to answer. So a server that has gone without a word is noticed within two of these.
	// A grpc-go server must be told to accept that (keepalive.EnforcementPolicy): it takes a PING
	// more often than every five minutes for abuse.
	DefaultKeepAlive = 30 * time.Second
	// idleTimeout ends a connection that no call uses. Identity, for one, is asked twice a day.
	idleTimeout = time.Minute

	// maxRecord is no larger than a ClientHello: a server keeps room for the largest record of each
	// of its callers, and more room would be four times as much.
	maxRecord = 1 << 10

	streamWindow   = 64 << 10
	connWindow     = 256 << 10
	maxHeaderBytes = 16 << 10
	// tries is how often a call is sent: once, and once more on a fresh connection if the server
	// surely has not processed it.
	tries = 2
)

// Options are a Client's. Dial, Authority and Bounds are required.
type Options struct {
	// Dial returns a connection, for TLS with its handshake done.
	Dial      func(ctx context.Context) (*wire.Conn, error)
	Authority string // :authority
	Bounds    Bounds
	UserAgent string        // "tulle/" and the version
	KeepAlive time.Duration // 0: DefaultKeepAlive
}

// Bounds are the largest messages that the two ends have agreed upon, in bytes.
type Bounds struct{ Request, Response int }

// Client calls one server. Any number of goroutines may use it.
type Client struct {
	o       Options
	dialing chan struct{} // whoever has put an element in may dial; it has room for one
	readers sync.WaitGroup

	mu     sync.Mutex // guards what follows
	conn   *conn
	conns  map[*conn]struct{} // conn, and those that are going away
	closed bool
}

// conn is a connection and what its handlers have said of it.
type conn struct {
	h2     *h2.Conn
	scheme string
	gone   chan struct{} // closed: it takes no more calls
	leave  func()        // closes gone

	mu    sync.Mutex    // guards what follows
	ready chan struct{} // closed when a stream may be opened again
}

var errClosed = errors.New("the client is closed")

// NewClient makes a client. It dials when it is first used.
func NewClient(o Options) *Client {
	if o.KeepAlive == 0 {
		o.KeepAlive = DefaultKeepAlive
	}
	if o.UserAgent == "" {
		o.UserAgent = "tulle/dev"
	}
	return &Client{o: o, dialing: make(chan struct{}, 1), conns: map[*conn]struct{}{}}
}

// Call makes a unary call of method, "/package.Service/Method". The error is or wraps a *Status.
func (c *Client) Call(ctx context.Context, method string, in, out proto.Message) error {
	var err error
	for range tries {
		if err = c.call(ctx, method, in, out); !errors.Is(err, h2.ErrRefused) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("call %s: %w", method, err)
	}
	return nil
}

func (c *Client) call(ctx context.Context, method string, in, out proto.Message) error {
	s, err := c.open(ctx, method)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.send(in, true); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if err := s.Recv(out); err != nil {
		if errors.Is(err, io.EOF) {
			return newStatus(Internal, "the server sent no message")
		}
		return err
	}
	return s.awaitEnd()
}

// awaitEnd waits for the end of a call whose one message was received.
func (s *Stream) awaitEnd() error {
	_, err := s.next()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err == nil {
		return newStatus(Internal, "the server sent more than one message")
	}
	return err
}

// Open begins a streaming call of method. The call ends with ctx; a caller that leaves earlier must
// Close it.
func (c *Client) Open(ctx context.Context, method string) (*Stream, error) {
	s, err := c.open(ctx, method)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", method, err)
	}
	s.h2.Flush()
	return s, nil
}

func (c *Client) open(ctx context.Context, method string) (*Stream, error) {
	var err error
	for range tries {
		var to *conn
		if to, err = c.connection(ctx); err != nil {
			return nil, err
		}
		var s *Stream
		if s, err = c.openOn(ctx, to, method); err == nil {
			return s, nil
		}
		if ctx.Err() != nil {
			return nil, contextStatus(ctx.Err())
		}
		to.leave()
	}
	return nil, causedBy(Unavailable, err)
}

// openOn opens a stream on a connection. It waits while the server takes no more streams at once.
func (c *Client) openOn(ctx context.Context, to *conn, method string) (*Stream, error) {
	for {
		// This comes before OpenStream, or a change after its answer could be missed.
		ready := to.capacity()
		s := newStream(c.o.Bounds)
		err := s.open(ctx, to.h2, c.head(ctx, to, method))
		if err == nil {
			return s, nil
		}
		if !errors.Is(err, h2.ErrNoCapacity) {
			return nil, err
		}
		select {
		case <-ready:
		case <-to.gone:
			return nil, h2.ErrGoingAway
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *Client) head(ctx context.Context, to *conn, method string) []hpack.HeaderField {
	fields := []hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: to.scheme},
		{Name: ":authority", Value: c.o.Authority},
		{Name: ":path", Value: method},
		{Name: "te", Value: "trailers"},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "user-agent", Value: c.o.UserAgent},
	}
	if deadline, ok := ctx.Deadline(); ok {
		left := max(time.Until(deadline), 1)
		fields = append(fields, hpack.HeaderField{Name: "grpc-timeout", Value: timeoutValue(left)})
	}
	return fields
}

// connection is the current connection, or a new one. One caller dials. The others wait for that,
// but no longer than their contexts say.
func (c *Client) connection(ctx context.Context) (*conn, error) {
	select {
	case c.dialing <- struct{}{}:
		defer func() { <-c.dialing }()
	case <-ctx.Done():
		return nil, contextStatus(ctx.Err())
	}
	if ctx.Err() != nil {
		return nil, contextStatus(ctx.Err())
	}
	to, err := c.current()
	if to != nil || err != nil {
		return to, err
	}
	w, err := c.o.Dial(ctx)
	if err != nil {
		return nil, causedBy(Unavailable, fmt.Errorf("dial: %w", err))
	}
	return c.adopt(w)
}

// current is the current connection, or nil if there is none that takes calls.
func (c *Client) current() (*conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, causedBy(Canceled, errClosed)
	}
	if c.conn == nil || c.conn.isGone() {
		return nil, nil
	}
	return c.conn, nil
}

// Renew gives calls that begin from now on a new connection, because what this side proves has
// changed. A server that refuses the old certificate would go on refusing it on the old connection.
// Calls under way go on.
func (c *Client) Renew() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		c.conn.leave()
		c.conn = nil
	}
}

// adopt makes a connection that was dialed the current one, and starts its reader.
func (c *Client) adopt(w *wire.Conn) (*conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		w.Close()
		return nil, causedBy(Canceled, errClosed)
	}
	to := c.newConn(w)
	c.conn = to
	c.conns[to] = struct{}{}
	c.readers.Go(func() {
		to.h2.Serve() // its streams are told why it ended
		to.leave()
		c.forget(to)
	})
	return to, nil
}

func (c *Client) newConn(w *wire.Conn) *conn {
	to := &conn{scheme: "http", gone: make(chan struct{}), ready: make(chan struct{})}
	to.leave = sync.OnceFunc(func() { close(to.gone) })
	w.MaxRecord = maxRecord
	if w.TLS() != nil {
		to.scheme = "https"
	}
	to.h2 = h2.NewClient(w, h2.Options{
		OnCapacity:     to.onCapacity,
		OnGoAway:       to.leave,
		OnClose:        func(error) { to.leave() },
		MaxHeaderBytes: maxHeaderBytes,
		StreamWindow:   streamWindow,
		ConnWindow:     connWindow,
		KeepAlive:      c.o.KeepAlive,
		IdleTimeout:    idleTimeout,
	})
	return to
}

func (c *Client) forget(to *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, to)
	if c.conn == to {
		c.conn = nil
	}
}

// Close ends every call and connection, and waits for their goroutines. Nobody may be dialing any
// more: end the contexts of calls first.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	for to := range c.conns {
		to.h2.Close(h2.CodeNone)
	}
	c.mu.Unlock()
	c.readers.Wait()
}

func (to *conn) isGone() bool {
	select {
	case <-to.gone:
		return true
	default:
		return false
	}
}

// capacity returns a channel that is closed when a stream may be opened again.
func (to *conn) capacity() <-chan struct{} {
	to.mu.Lock()
	defer to.mu.Unlock()
	return to.ready
}

func (to *conn) onCapacity() {
	to.mu.Lock()
	defer to.mu.Unlock()
	close(to.ready)
	to.ready = make(chan struct{})
}
