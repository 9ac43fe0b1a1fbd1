package h1

import (
	"errors"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// What a zero Options means.
const (
	defaultHeaderBytes   = 64 << 10
	defaultHeaderFields  = 100
	defaultWindow        = 64 << 10
	defaultHeaderTimeout = 10 * time.Second
	defaultHalfClosed    = 5 * time.Second
)

const (
	// maxPipelined is how many bytes of later requests are read while a response is awaited.
	// Reading on is how a client that left is noticed. A client that pipelines more waits in its
	// kernel.
	maxPipelined = 16 << 10
	// maxInformational 1xx responses may precede one response.
	maxInformational = 16
	// linger is how long input is still read after the last output left. Closing with unread input
	// makes the kernel reset the connection, and the client loses the response (RFC 9112 §9.6).
	linger = 2 * time.Second
)

// Sink is what a stream tells its owner. OnHeaders, OnData and OnReset are called by the reader,
// OnSent by any goroutine, and none with a lock of the connection held. Slices are valid during the
// call, strings forever.
type Sink interface {
	OnHeaders(fields []hpack.HeaderField, end bool)
	OnData(p []byte, end bool)
	OnReset(code uint32, err error)
	OnSent(n int)
}

// Options are a connection's handlers and limits. The handlers are called by the reader and must
// not wait; any may be nil. A limit of zero means its default.
type Options struct {
	// OnStream, of a server, begins a request. If it returns nil the request is answered with 503.
	OnStream func(*Stream) Sink
	// NewStream, of a server, gives the memory for a new request's stream. By default it is
	// allocated.
	NewStream func() *Stream
	// OnBatch says that the input ran dry: what was written because of it can be flushed.
	OnBatch func()
	// OnCapacity, of a client, says that the connection is idle again.
	OnCapacity func()
	// OnClose is called once, after the exchange under way was reset. The error of an orderly end
	// is nil.
	OnClose func(error)

	// Outlive lets a request go on after its response has ended. Whoever owns the stream resets it
	// if nobody wants the rest.
	Outlive         bool
	Direct          bool // client: nobody but the server and its kernel can reset the connection
	MaxHeaderBytes  int  // of a head, as RFC 9113 §6.5.2 counts; default 64 KiB
	MaxHeaderFields int  // of a head; default 100
	StreamWindow    int  // bytes of body given to the sink and not yet Consumed; default 64 KiB
	MaxOutput       int  // bytes that wait for the kernel; beyond it data stays with its stream
	// Allowance bounds what connections hold for slow peers, all together; nil: nothing does.
	Allowance *wire.Allowance

	HeaderTimeout time.Duration // server: from a head's first byte to its last; default 10 s
	IdleTimeout   time.Duration // no exchange for so long: an orderly end; 0: never
	// HalfClosed, of a server, is how long a client that has ended its half still gets a response,
	// if it did not say that this request is its last; default 5 s.
	HalfClosed time.Duration
}

func (o Options) resolved() Options {
	o.MaxHeaderBytes = orDefault(o.MaxHeaderBytes, defaultHeaderBytes)
	o.MaxHeaderFields = orDefault(o.MaxHeaderFields, defaultHeaderFields)
	o.StreamWindow = orDefault(o.StreamWindow, defaultWindow)
	o.MaxOutput = orDefault(o.MaxOutput, wire.DefaultMaxOutput)
	o.HeaderTimeout = orDefault(o.HeaderTimeout, defaultHeaderTimeout)
	o.HalfClosed = orDefault(o.HalfClosed, defaultHalfClosed)
	return o
}

func (o *Options) newStream() *Stream {
	if o.NewStream != nil {
		return o.NewStream()
	}
	return new(Stream)
}

func orDefault[T int | time.Duration](v, d T) T {
	if v > 0 {
		return v
	}
	return d
}

// Conn is one HTTP/1 connection, in one of two roles.
type Conn struct {
	w      *wire.Conn
	o      Options
	client bool

	// The reader alone uses these.
	head           head
	trail          *head // made for the first chunked body
	phase          phase
	body           body
	left           int64 // bytes to come, of a body of known length
	chunks         chunks
	informationals int  // informational responses since the last final one
	connecting     bool // CONNECT is answered: what comes before that is no request
	saidAll        bool // a client has ended its half while it awaits a response
	timer          timer

	// The wire's lock guards these.
	stream    *Stream // the exchange under way
	parked    parking
	wakeNeed  need // why it is parked
	leftover  bool // it is parked with unparsed input
	life      life
	halfClose bool // whoever unlocks next ends our half of the connection
	outlived  bool // client: the request has ended after its response
	failure   error
	failCode  uint32 // the code that failure resets the exchange with; 0: the usual one
	idleSince time.Time
	exchanges int
	watch     *time.Timer // looks after a client that has ended its half
}

// NewServer serves requests that arrive on w.
func NewServer(w *wire.Conn, o Options) *Conn { return newConn(w, o, false) }

// NewClient sends requests on w.
func NewClient(w *wire.Conn, o Options) *Conn { return newConn(w, o, true) }

func newConn(w *wire.Conn, o Options, client bool) *Conn {
	c := &Conn{w: w, o: o.resolved(), client: client, idleSince: time.Now()}
	w.MaxOutput, w.OnDrain, w.Allowance = c.o.MaxOutput, c.drained, c.o.Allowance
	c.head.maxBytes, c.head.maxFields = c.o.MaxHeaderBytes, c.o.MaxHeaderFields
	c.head.begin(c.section())
	return c
}

func (c *Conn) section() section {
	if c.client {
		return responseHead
	}
	return requestHead
}

// Start reads until the connection ends, in turns for which connections share goroutines where they
// can. Then it calls end, once. A nil error means that nothing was cut short.
func (c *Conn) Start(end func(error)) {
	c.w.Start(c.turn, func(err error) { end(c.finish(err)) })
}

// Serve is Start, and waits for the end.
func (c *Conn) Serve() error {
	ended := make(chan error, 1)
	c.Start(func(err error) { ended <- err })
	return <-ended
}

func (c *Conn) finish(err error) error {
	c.detach(err)
	c.batch() // the last events have consequences too
	if c.lingers(err) {
		c.linger()
	}
	c.w.Close()
	c.w.Wait()
	if c.o.OnClose != nil {
		c.o.OnClose(err)
	}
	return err
}

// turn handles the input that has arrived.
func (c *Conn) turn(why error) (wire.Wait, error) {
	if err := c.awaken(why); err != nil {
		return wire.Done, c.refused(err)
	}
	for {
		n, err := c.parse()
		if err != nil {
			return wire.Done, c.refused(err)
		}
		if n == needEnd {
			return wire.Done, nil
		}
		c.batch()
		w, met, err := c.wait(n)
		if err != nil {
			return wire.Done, c.refused(err)
		}
		if !met {
			return w, nil
		}
	}
}

func (c *Conn) batch() {
	c.w.Release()
	if c.o.OnBatch != nil {
		c.o.OnBatch()
	}
}

// detach ends the exchange under way, if the connection ended before it.
func (c *Conn) detach(err error) {
	c.w.Lock()
	s, code := c.stream, c.failCode
	if s != nil {
		s.forgetLocked()
	}
	c.enterLifeLocked(lifeOver)
	if c.watch != nil {
		c.watch.Stop()
	}
	c.w.Unlock()
	if s == nil {
		return
	}
	if err == nil {
		err = ErrClosed
	}
	if code == 0 {
		code = c.code(err)
	}
	if s.sink != nil {
		s.sink.OnReset(code, err)
	}
}

func (c *Conn) code(err error) uint32 {
	var refusal *Refusal
	switch {
	case errors.As(err, &refusal):
		return codeProtocol
	case c.client:
		return codeInternal
	}
	return codeCancel
}

// refused answers what the client sent wrong, unless a response has begun. It returns the error
// that the connection ends with.
func (c *Conn) refused(err error) error {
	c.w.Lock()
	defer c.w.Unlock()
	if c.failure != nil {
		return c.failure
	}
	var refusal *Refusal
	if c.client || !errors.As(err, &refusal) {
		return err
	}
	if s := c.stream; s == nil || !s.headSent {
		c.appendRefusalLocked(refusal, s == nil || s.method != "HEAD")
	}
	return err
}

// appendRefusalLocked writes a response of this package's own.
func (c *Conn) appendRefusalLocked(r *Refusal, withBody bool) {
	c.w.AppendToLocked(func(b []byte) []byte { return appendRefusal(b, r, withBody) })
}

// lingers says whether the connection is kept open until the peer has read the last output. A
// server waits after an orderly end and after a refusal; a client waits only if the connection was
// upgraded, or if its last request ended after the response.
func (c *Conn) lingers(err error) bool {
	var refusal *Refusal
	if c.client {
		return err == nil && (c.phase >= phaseRaw || c.outlived)
	}
	return err == nil || errors.As(err, &refusal)
}

// linger waits until the last output has left, and for a moment in which it can arrive.
func (c *Conn) linger() {
	c.w.CloseWrite()
	until := time.Now().Add(linger)
	for {
		if c.hasOutput() {
			until = time.Now().Add(linger)
		}
		if !time.Now().Before(until) {
			return
		}
		c.w.SetReadDeadline(until)
		if err := c.w.Fill(); err != nil && !isTimeout(err) {
			c.w.AwaitOutput() // a peer that has said all may still be reading
			return
		}
		c.w.Discard(len(c.w.Buffered()))
	}
}

func (c *Conn) hasOutput() bool {
	c.w.Lock()
	defer c.w.Unlock()
	return c.w.QueuedLocked() > 0 && c.w.FailedLocked() == nil
}

// OpenStream sends a request. The client must be idle: HTTP/1 has one exchange at a time.
func (c *Conn) OpenStream(fields []hpack.HeaderField, end bool, sink Sink) (*Stream, error) {
	var r request
	if err := r.read(fields, end); err != nil {
		return nil, err
	}
	c.w.Lock()
	defer c.w.Unlock()
	if c.drainingLocked() || c.w.FailedLocked() != nil {
		return nil, ErrClosed
	}
	if c.stream != nil {
		return nil, ErrBusy
	}
	s := &Stream{
		c: c, sink: sink, method: r.method, tunnel: r.tunnels(), headSent: true,
		window: c.o.StreamWindow, reused: c.exchanges > 0,
	}
	c.exchanges++
	c.stream = s
	s.out, s.outLeft = r.framing()
	before := c.w.QueuedLocked()
	c.w.AppendToLocked(func(b []byte) []byte { return r.append(b, fields) })
	if s.out == framedNone || s.out == framedLength && s.outLeft == 0 {
		s.enterLocked(streamLocalClosed)
	}
	s.measureLocked(before)
	s.pendingEnd = end && s.out == framedLater
	return s, nil
}

// GoAway lets the exchange under way finish and takes no other.
func (c *Conn) GoAway() {
	c.w.Lock()
	defer c.w.Unlock()
	c.drainLocked()
	if c.stream == nil && !c.leftover {
		c.wakeLocked()
	}
}

// Active is the number of exchanges under way.
func (c *Conn) Active() int {
	c.w.Lock()
	defer c.w.Unlock()
	if c.stream != nil {
		return 1
	}
	return 0
}

// Resting says whether the reader is between two turns, so that it is not in a call of a sink.
func (c *Conn) Resting() bool {
	c.w.Lock()
	defer c.w.Unlock()
	return c.parked != awake
}

// Rest frees what only makes the next exchange faster, if no exchange is under way.
func (c *Conn) Rest() {
	c.w.Lock()
	defer c.w.Unlock()
	// The reader takes the lock before its next turn, so it is not using the head now.
	if c.parked == forInput && c.stream == nil && !c.leftover && !c.head.partial() {
		c.head.forget()
	}
}

// Flush sends what was written.
func (c *Conn) Flush() { c.w.Flush() }

// Close ends the connection at once, with this code for the exchange under way.
func (c *Conn) Close(code uint32) {
	c.w.Lock()
	c.failLocked(code, ErrClosed)
	c.w.Unlock()
	c.w.Close()
}

// failLocked makes the reader end with err in its next turn, and reset the exchange under way with
// code. The caller then closes the wire.
func (c *Conn) failLocked(code uint32, err error) {
	if c.failure == nil {
		c.failure, c.failCode = err, code
	}
	if c.life < lifeFailed {
		c.enterLifeLocked(lifeFailed)
	}
	c.wakeLocked()
}
