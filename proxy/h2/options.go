package h2

import (
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// Sink is what a stream tells its owner. Nothing is called with a connection's lock held.
type Sink interface {
	// OnHeaders brings a head, an informational response, or trailers (the second block that is not
	// informational, always with end). fields is valid during the call; its strings may be kept.
	OnHeaders(fields []hpack.HeaderField, end bool)
	// OnData brings a piece of the body; p is valid during the call. Every byte is due back through
	// Consumed.
	OnData(p []byte, end bool)
	// OnReset is the last call: the peer reset the stream, the connection died, or the peer broke
	// the protocol.
	OnReset(code uint32, err error)
	// OnSent says that n bytes which WriteData did not accept have left. Any goroutine.
	OnSent(n int)
}

// Options are a connection's handlers and limits. Zero limits take their default.
type Options struct {
	OnStream func(*Stream) Sink // server: a new request; nil refuses it
	// NewStream is a server's memory for a new request's stream, zeroed; default: an allocation.
	NewStream  func() *Stream
	OnBatch    func() // the read buffer ran dry: flush what was written elsewhere
	OnCapacity func() // client: OpenStream may be tried again
	// OnGoAway tells a client that the connection takes no new streams: the peer said so, or too
	// many were reset.
	OnGoAway func()
	// OnClose is called once, after every live stream got OnReset; an orderly end is nil.
	OnClose func(error)
	// OnBreach tells that the peer broke the protocol, or a limit, on a stream. It is called with
	// the connection's lock held, and may only count.
	OnBreach func(code uint32)

	MaxStreams int // server: told to the peer; client: a bound beside the peer's own
	// FirstStreams is how many streams a client opens before it knows how many the server takes.
	FirstStreams    int
	MaxHeaderBytes  int // a decoded header list as RFC 9113 §6.5.2 counts it
	MaxHeaderFields int // but for cookies, which MaxHeaderBytes bounds
	StreamWindow    int // received and not consumed, a stream
	// FirstWindow is a stream's window before anything was consumed. Each half of it that is
	// consumed doubles it, up to StreamWindow, which is the default.
	FirstWindow int
	ConnWindow  int // received and not consumed, all streams
	MaxOutput   int // unsent output beyond which data stays with its stream
	// Allowance bounds what connections hold for slow peers, all together; nil: nothing does.
	Allowance *wire.Allowance

	// Near tells a client that the server is on this machine: if its answers trickle, it is given
	// the processor before they are read.
	Near bool
	// Trusted tells a server that its client makes no floods of cancelled requests. One that
	// cancels many, for their server is slow, is not to lose the others.
	Trusted       bool
	EnableConnect bool          // server: offer extended CONNECT (RFC 8441)
	StartTimeout  time.Duration // the peer's preface and first SETTINGS; default 10 s
	HeaderTimeout time.Duration // an unfinished frame or header block; default 10 s
	IdleTimeout   time.Duration // no stream for so long: an orderly end; 0: never
	FirstTimeout  time.Duration // server: the same before the first stream; 0: IdleTimeout
	// KeepAlive is how long nothing may be heard before a PING is sent, and how long that may stay
	// unanswered; 0: no PING.
	KeepAlive time.Duration
}

const (
	defaultMaxStreams   = 256
	defaultHeaderBytes  = 64 << 10
	defaultHeaderFields = 100
	defaultStreamWindow = 64 << 10
	defaultConnWindow   = 512 << 10
	defaultMaxOutput    = 64 << 10
	defaultTimeout      = 10 * time.Second
)

func (o Options) withDefaults() Options {
	o.MaxStreams = orDefault(o.MaxStreams, defaultMaxStreams)
	o.FirstStreams = orDefault(o.FirstStreams, presumedStreams)
	o.MaxHeaderBytes = orDefault(o.MaxHeaderBytes, defaultHeaderBytes)
	o.MaxHeaderFields = orDefault(o.MaxHeaderFields, defaultHeaderFields)
	o.StreamWindow = orDefault(o.StreamWindow, defaultStreamWindow)
	o.FirstWindow = orDefault(o.FirstWindow, o.StreamWindow)
	// §6.9.2: it cannot be made smaller
	o.ConnWindow = max(orDefault(o.ConnWindow, defaultConnWindow), initialWindow)
	o.MaxOutput = orDefault(o.MaxOutput, defaultMaxOutput)
	o.StartTimeout = orDefault(o.StartTimeout, defaultTimeout)
	o.HeaderTimeout = orDefault(o.HeaderTimeout, defaultTimeout)
	return o
}

func orDefault[T int | time.Duration](v, d T) T {
	if v == 0 {
		return d
	}
	return v
}

func (o *Options) newStream() *Stream {
	if o.NewStream != nil {
		return o.NewStream()
	}
	return new(Stream)
}

func (o *Options) batch() {
	if o.OnBatch != nil {
		o.OnBatch()
	}
}

func (o *Options) capacity() {
	if o.OnCapacity != nil {
		o.OnCapacity()
	}
}

func (o *Options) goAway() {
	if o.OnGoAway != nil {
		o.OnGoAway()
	}
}

func (o *Options) closed(err error) {
	if o.OnClose != nil {
		o.OnClose(err)
	}
}
