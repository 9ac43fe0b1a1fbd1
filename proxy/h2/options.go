package h2

import (
	"time"

	"golang.org/x/net/http2/hpack"
)

// Sink is what a stream tells its owner. Nothing is called with a connection's lock held.
type Sink interface {
	// OnHeaders brings a head, an informational response, or trailers (the second block that is not informational, always
	// with end). fields is valid during the call; its strings may be kept.
	OnHeaders(fields []hpack.HeaderField, end bool)
	// OnData brings a piece of the body; p is valid during the call. Every byte is due back through Consumed.
	OnData(p []byte, end bool)
	// OnReset is the last call: the peer reset the stream, the connection died, or the peer broke the protocol.
	OnReset(code uint32, err error)
	// OnSent says that n bytes which WriteData did not accept have left. Any goroutine.
	OnSent(n int)
}

// Options are a connection's handlers and limits. Zero limits take their default.
type Options struct {
	OnStream   func(*Stream) Sink // server: a new request; nil refuses it
	NewStream  func() *Stream     // server: memory for a new request's stream, zeroed; default: an allocation
	OnBatch    func()             // the read buffer ran dry: flush what was written elsewhere
	OnCapacity func()             // client: OpenStream may be tried again
	OnReady    func()             // the peer's first SETTINGS are here: ExtendedConnect is known
	OnGoAway   func()             // client: the connection takes no new streams: the peer said so, or too many were reset
	OnClose    func(error)        // once, after every live stream got OnReset; nil error for an orderly end
	OnBreach   func(code uint32)  // the peer broke the protocol, or a limit, on a stream. The lock is held: it may only count

	MaxStreams      int // server: told to the peer; client: a bound of our own beside the peer's
	MaxHeaderBytes  int // a decoded header list as RFC 9113 §6.5.2 counts it
	MaxHeaderFields int // cookie crumbs included
	StreamWindow    int // received and not consumed, a stream
	FirstWindow     int // StreamWindow before anything was consumed; it doubles with what is. Default: StreamWindow
	ConnWindow      int // received and not consumed, all streams
	MaxOutput       int // unsent output beyond which data stays with its stream

	Near          bool          // client: the server may be on this machine; one whose answers trickle is let run
	EnableConnect bool          // server: offer extended CONNECT (RFC 8441)
	StartTimeout  time.Duration // the peer's preface and first SETTINGS; default 10 s
	HeaderTimeout time.Duration // an unfinished frame or header block; default 10 s
	IdleTimeout   time.Duration // no stream for so long: an orderly end; 0: never
	KeepAlive     time.Duration // nothing heard for so long: PING, and the end if that stays unanswered as long; 0: never
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
	o.MaxHeaderBytes = orDefault(o.MaxHeaderBytes, defaultHeaderBytes)
	o.MaxHeaderFields = orDefault(o.MaxHeaderFields, defaultHeaderFields)
	o.StreamWindow = orDefault(o.StreamWindow, defaultStreamWindow)
	o.FirstWindow = orDefault(o.FirstWindow, o.StreamWindow)
	o.ConnWindow = max(orDefault(o.ConnWindow, defaultConnWindow), initialWindow) // §6.9.2: it cannot be made smaller
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

func (o *Options) ready() {
	if o.OnReady != nil {
		o.OnReady()
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
