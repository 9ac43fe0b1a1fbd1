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
)

const (
	// maxPipelined is how much of later requests is read while a response is awaited. Reading on is how a client that left is
	// noticed, so it should not end early; a pipeliner beyond this waits in its kernel.
	maxPipelined = 16 << 10
	// maxInformational 1xx responses may precede one response.
	maxInformational = 16
	// linger is how long input is still taken after the last output left: closing with unread input makes the kernel reset
	// the connection, and the client loses the response (RFC 9112 §9.6).
	linger = 2 * time.Second
)

// Sink is what a stream tells its owner. OnHeaders, OnData and OnReset come from the reader, OnSent from any,
// never with a lock of the connection held. Slices are valid during the call, strings forever.
type Sink interface {
	OnHeaders(fields []hpack.HeaderField, end bool)
	OnData(p []byte, end bool)
	OnReset(code uint32, err error)
	OnSent(n int)
}

// Options are a connection's handlers and limits. The handlers are called by the reader and must not wait; any may be nil.
// Zero limits take their default.
type Options struct {
	OnStream   func(*Stream) Sink // server: a request begins; nil refuses it with 503
	NewStream  func() *Stream     // server: memory for a new request's stream; default: an allocation
	OnBatch    func()             // the input ran dry: flush what was written because of it
	OnCapacity func()             // client: the connection is idle again
	OnClose    func(error)        // once, after the live stream was reset; nil error for an orderly end

	Direct          bool // client: nobody but the server and its kernel can reset the connection
	MaxHeaderBytes  int  // of a head, as RFC 9113 §6.5.2 counts
	MaxHeaderFields int  // of a head
	StreamWindow    int  // body bytes given to the sink and not yet Consumed
	MaxOutput       int  // bytes that wait for the kernel; beyond it data stays with its stream

	HeaderTimeout time.Duration // server: from a head's first byte to its last; default 10 s
	IdleTimeout   time.Duration // no exchange for so long: an orderly end; 0: never
}

func (o Options) resolved() Options {
	o.MaxHeaderBytes = orDefault(o.MaxHeaderBytes, defaultHeaderBytes)
	o.MaxHeaderFields = orDefault(o.MaxHeaderFields, defaultHeaderFields)
	o.StreamWindow = orDefault(o.StreamWindow, defaultWindow)
	o.MaxOutput = orDefault(o.MaxOutput, wire.DefaultMaxOutput)
	o.HeaderTimeout = orDefault(o.HeaderTimeout, defaultHeaderTimeout)
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

	// Of the reader.
	head     head
	trail    *head // made for the first chunked body
	phase    phase
	body     body
	left     int64 // of a body of known length
	chunks   chunks
	informal int
	timer    timer

	// Guarded by the wire's lock.
	stream    *Stream // the exchange under way
	parked    parking
	wakeNeed  need // why it is parked
	leftover  bool // it is parked with unparsed input
	life      life
	halfClose bool // whoever unlocks ends our half of the connection
	failure   error
	failCode  uint32
	idleSince time.Time
	exchanges int
}

// NewServer serves requests that arrive on w.
func NewServer(w *wire.Conn, o Options) *Conn { return newConn(w, o, false) }

// NewClient sends requests on w.
func NewClient(w *wire.Conn, o Options) *Conn { return newConn(w, o, true) }

func newConn(w *wire.Conn, o Options, client bool) *Conn {
	c := &Conn{w: w, o: o.resolved(), client: client, idleSince: time.Now()}
	w.MaxOutput, w.OnDrain = c.o.MaxOutput, c.drained
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

// Start reads until the connection ends, in turns that it shares a goroutine for where it can, and then calls end, once. A
// nil error means that nothing was cut short.
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

// turn handles what is here.
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

// refused answers what the peer sent wrong, if no response has begun.
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
		c.w.AppendToLocked(func(b []byte) []byte { return appendRefusal(b, refusal, s == nil || s.method != "HEAD") })
	}
	return err
}

// lingers: a server's last words, and an upgraded connection's, are waited for. What a client still had to say in an
// exchange that is over, nobody wants.
func (c *Conn) lingers(err error) bool {
	var refusal *Refusal
	if c.client {
		return err == nil && c.phase >= phaseRaw
	}
	return err == nil || errors.As(err, &refusal)
}

// linger lets the last output arrive.
func (c *Conn) linger() {
	c.w.CloseWrite()
	until := time.Now().Add(linger)
	for {
		if c.pending() {
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

func (c *Conn) pending() bool {
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
	s := &Stream{c: c, sink: sink, method: r.method, upgrade: r.protocol != "", window: c.o.StreamWindow, reused: c.exchanges > 0, headSent: true}
	c.exchanges++
	c.stream = s
	s.out, s.outLeft = r.framing()
	before := c.w.QueuedLocked()
	c.w.AppendToLocked(func(b []byte) []byte { return r.append(b, fields) })
	if s.out == framedNone || s.out == framedLength && s.outLeft == 0 {
		s.enterLocked(streamLocalClosed)
	}
	s.measure(before)
	s.keptEnd = end && s.out == framedLater
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

// Resting: the reader is between two turns, so it is not in a call of a sink.
func (c *Conn) Resting() bool {
	c.w.Lock()
	defer c.w.Unlock()
	return c.parked != awake
}

// Rest gives back what only speed keeps, while nothing is under way.
func (c *Conn) Rest() {
	c.w.Lock()
	defer c.w.Unlock()
	if c.parked == forInput && c.stream == nil && !c.leftover && !c.head.partial() { // the reader takes the lock before its next turn
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

// failLocked lets the reader end and say why; the caller then closes the wire.
func (c *Conn) failLocked(code uint32, err error) {
	if c.failure == nil {
		c.failure, c.failCode = err, code
	}
	if c.life < lifeFailed {
		c.enterLifeLocked(lifeFailed)
	}
	c.wakeLocked()
}
