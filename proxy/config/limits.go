package config

import "time"

// DrainGrace is the default of EnvDrainGrace: Kubernetes' own default termination grace.
const DrainGrace = 30 * time.Second

// Limits of detection and of opaque connections.
const (
	DetectBytes = 16 << 10 // a ClientHello with post-quantum keys and many extensions fits
	IdleTCP     = time.Hour
)

// Limits are the bounds and times that the proxy lives by. Every proxy runs with the values of
// DefaultLimits, and no variable changes them. They are data so that a test need not wait for a
// minute, or make a thousand of something, to see what a proxy does then.
type Limits struct {
	// DetectTimeout is how long a caller may say nothing before its server is dialed, which may be
	// one that speaks first. Linkerd waits 10 s, which delays such servers where nobody told it of
	// them.
	DetectTimeout time.Duration
	// DiscoveryWait is how long a first request waits for destination, and any request for an
	// endpoint, a connection or a stream, before it fails.
	DiscoveryWait time.Duration
	// NameGrace is how long peers may still choose a port that nothing names any longer: they are
	// told of an endpoint's end by others, and what they sent before must not be lost.
	NameGrace time.Duration
	// DialTimeout bounds a dial: the kernel repeats a SYN that was lost after a second.
	// DialElsewhere is for an endpoint that is not the only one, since another is tried then;
	// DialOutside is for what is outside the cluster.
	DialTimeout, DialElsewhere, DialOutside time.Duration
	// DialControl is for a server of the control plane, of which a Service has more than one: the
	// packets of a dial to a pod that is gone go on to that pod, and a new dial's to another. With
	// it, two dials and a pause fit into DiscoveryWait.
	DialControl time.Duration
	// HandshakeTimeout bounds a TLS handshake with an endpoint: one whose core is busy signs late.
	HandshakeTimeout time.Duration
	// MaxTries bounds how often one request is sent, the first time included.
	MaxTries int
	// RetryBodyLimit is how much of a request's body is kept, in bytes. A request with a longer one
	// is not retried.
	RetryBodyLimit int
	// RetryBackoffMin and RetryBackoffMax bound the pause before a retry at the same endpoint,
	// which is at least half of RetryBackoffMin.
	RetryBackoffMin, RetryBackoffMax time.Duration

	// IdleHTTP is how long a connection to a backend is kept without a request, and one on which
	// nobody has asked for anything yet. IdleCaller is how long a caller's is kept after one:
	// longer than callers keep theirs, for one that sends a request just as the proxy closes loses
	// it. Go's and Java's clients keep theirs for 90 s, load balancers for up to 10 minutes.
	IdleHTTP, IdleCaller time.Duration
	// HeaderTimeout is how long a head may take, from its first byte to its last, and so may bytes
	// that can still become a head. It ends callers that send one byte at a time (slowloris).
	HeaderTimeout time.Duration
	// BodyIdle is how long the body of a request, unless it is gRPC's, may pause before there is an
	// answer. This is Envoy's value.
	BodyIdle time.Duration
	// HalfClosed is how long a caller in HTTP/1 that has ended its half while it awaits a response
	// is waited for, before that end counts as how it cancels the request.
	HalfClosed time.Duration
	// BodyStall is how long a request lives while its peer takes nothing of what is held for it,
	// and a connection whose peer reads nothing at all. This is Envoy's value. A gRPC stream or an
	// upgraded connection has no such bound: to take nothing is how its peer slows the other down,
	// and who works on an item for minutes does nothing wrong. What is held for it is bounded by
	// its window.
	BodyStall time.Duration
	// MeshKeepAlive is how long a proxy that this one is connected to may say nothing before it
	// gets a PING, and how long it may take to answer. Only proxies get PINGs: servers of gRPC
	// allow one every five minutes, and end the connection of a client that sends four sooner (gRPC
	// A8).
	MeshKeepAlive time.Duration
	// PeerTimeout is how long the kernel of a peer in plaintext may say nothing while nothing is on
	// its way there. It sets TCP's keep-alive, and finds a peer that vanished without a word.
	PeerTimeout time.Duration
	// UnackedTimeout is how long something may be on its way to a peer in plaintext HTTP: TCP's
	// user timeout (RFC 5482). It also counts the time in which a window stays closed. So it is
	// longer than BodyStall, after which the peer is told in HTTP.
	UnackedTimeout time.Duration
	// UnackedControl is UnackedTimeout for a server of the control plane. Its kernel acknowledges
	// however busy the server is, and what a window does not take waits here, not in the kernel.
	UnackedControl time.Duration

	// MaxConcurrentStreams bounds the streams on a connection of a proxy to a proxy or a backend.
	// The default of x/net is 250.
	MaxConcurrentStreams int
	// MaxOwnStreams is MaxConcurrentStreams for the pod's own application. gRPC keeps one
	// connection for all its streams, and lets those beyond the limit wait without a word. As many
	// quiet ones take a quarter of the memory that a proxy has by default, and MaxFullConns has
	// room for them.
	MaxOwnStreams int
	// MaxCallerStreams bounds the streams on a connection of any other caller, and so the memory
	// that a stranger's requests take. This is HAProxy's default.
	MaxCallerStreams int
	// MaxHeaderBytes bounds a decoded header list. It is counted as in RFC 9113 §6.5.2: 32 bytes a
	// field beside the field's text.
	MaxHeaderBytes int
	// MaxHeaderFields bounds the fields of a header list, pieces of cookies included. It ends lists
	// that are small when encoded and have very many fields.
	MaxHeaderFields int
	// MaxKeptHeads bounds the heads of one connection's requests that wait for an answer, in bytes.
	// Beyond it a head that was sent is not kept for a retry.
	MaxKeptHeads int
	// MaxHeads bounds the heads that MaxKeptHeads counts and those that are not sent yet, in bytes.
	// Beyond it requests are refused, in a way that tells the caller to try again.
	MaxHeads int
	// LongHead is the size, in bytes, from which a head counts as long. What short heads take is
	// bounded well enough by the number of streams.
	LongHead int
	// MaxKeptLongHeads is MaxKeptHeads for the long heads of all callers together, so that a
	// hundred hostile callers cannot take 64 MiB. MaxLongHeads is MaxHeads for them.
	MaxKeptLongHeads, MaxLongHeads int

	// StreamWindow bounds what one stream may have buffered here, in bytes: four DATA frames, of
	// which each fills a TLS record.
	StreamWindow int
	// CallerWindow is StreamWindow for the body of an HTTP/1 caller. More of it would only wait for
	// the connection that all callers share, and leave the processor's cache meanwhile.
	CallerWindow int
	// ConnWindow bounds what one connection may have buffered here, in bytes. Sixteen streams that
	// nobody reads do not hold up the others.
	ConnWindow int
	// SpareWindow is ConnWindow for connections to an endpoint that exist only because the others
	// have no room.
	SpareWindow int
	// SpareStreamWindow is the window of a stream on such a connection before anything of the
	// stream was taken. All these windows together leave three quarters of SpareWindow free.
	SpareStreamWindow int
	// MaxOutput is how much a connection may have unsent before data stays with its stream, in
	// bytes: as much as one read brings.
	MaxOutput int

	// MaxHeld bounds what all connections hold for peers that are slow to take it, in bytes of
	// memory. The more of it is held, the less another may hold, down to 4 KiB a buffer. Beyond
	// that, as for everything else, a proxy that is short of memory ends the slowest.
	MaxHeld int

	Mirrors MirrorLimits

	// SpanAge is how long a span may wait for others to be exported with; 0: package otlp's own.
	SpanAge time.Duration

	// MaxQueue bounds the requests that wait for the pod's own application. Several connections
	// that a caller's proxy has just opened may be full before the first to the application is
	// open; with more room, proxies that flood could take nearly all of the memory.
	MaxQueue int
	// MaxOwnQueue bounds those of the application that wait for one endpoint set. One connection
	// may have half of it: MaxOwnStreams, which may come at once.
	MaxOwnQueue int
	// MaxHTTP1Conns bounds the connections in HTTP/1 to one endpoint, which needs one for each
	// request: a long poll or a stream of events keeps its own. Those that are tunnels by now, such
	// as WebSockets, do not count: their callers have a connection each, which MaxConnections
	// bounds.
	MaxHTTP1Conns int
	// MaxHTTP2Conns bounds the connections in HTTP/2 to one endpoint, not counting those that have
	// no room for another request. One connection keeps a core busy.
	MaxHTTP2Conns int
	// MaxCloggedConns bounds the connections to one endpoint whose window slow callers have filled.
	// Each has SpareWindow.
	MaxCloggedConns int
	// MaxFullConns bounds the connections to one endpoint on which as many streams as it takes, or
	// MaxConcurrentStreams, wait for answers. A hundred callers that have MaxCallerStreams each on
	// one endpoint of 250 streams a connection (x/net's servers) leave room for others; with
	// sixteen more of them, a flood takes all of a sidecar's memory.
	MaxFullConns int
	// MaxConnections bounds the accepted connections, of all listeners together.
	MaxConnections int
	// ReservedConnections is how many of them each direction, inbound and outbound, has for itself.
	ReservedConnections int
	// MaxTargets bounds the destinations that are remembered. The least recently used go first.
	MaxTargets int

	// EndpointRest is how long an endpoint that could not be dialed is passed over while there is
	// another. It is long enough for a dead pod to leave the endpoint set, and so short that one
	// which recovered is soon used again. It doubles with each dial that fails, up to
	// EndpointRestMax.
	EndpointRest, EndpointRestMax time.Duration
	// EWMADefaultRTT is an endpoint's latency before it or one of its peers has answered (Linkerd's
	// value). EWMADecay is how fast what was measured is forgotten. Destination may set both for a
	// cluster.
	EWMADefaultRTT, EWMADecay time.Duration
}

// MirrorLimits bound the copies of requests.
type MirrorLimits struct {
	// Max bounds those that are on their way at a time. Those beyond it are not made.
	Max int
	// Held bounds what one of them holds for a backend that is slow to take it, in bytes, and
	// AllHeld what all of them do. The one that would hold more is given up.
	Held, AllHeld int
	// Timeout is how long the answer to one may take, from the request's end to its own.
	Timeout time.Duration
}

func defaultMirrorLimits() MirrorLimits {
	return MirrorLimits{
		Max: 1024, Held: 256 << 10, AllHeld: 4 << 20, Timeout: 30 * time.Second,
	}
}

// DefaultLimits are the limits of every proxy that is not in a test.
func DefaultLimits() Limits {
	return Limits{
		DetectTimeout:    time.Second,
		DiscoveryWait:    3 * time.Second,
		NameGrace:        time.Minute,
		DialTimeout:      3 * time.Second,
		DialElsewhere:    time.Second,
		DialOutside:      10 * time.Second,
		DialControl:      time.Second,
		HandshakeTimeout: 10 * time.Second,
		MaxTries:         5,
		RetryBodyLimit:   64 << 10,
		RetryBackoffMin:  25 * time.Millisecond,
		RetryBackoffMax:  250 * time.Millisecond,

		IdleHTTP:       60 * time.Second,
		IdleCaller:     10*time.Minute + 20*time.Second,
		HeaderTimeout:  10 * time.Second,
		BodyIdle:       5 * time.Minute,
		HalfClosed:     5 * time.Second,
		BodyStall:      5 * time.Minute,
		MeshKeepAlive:  10 * time.Second,
		PeerTimeout:    90 * time.Second,
		UnackedTimeout: 5*time.Minute + 30*time.Second,
		UnackedControl: 5 * time.Second,

		MaxConcurrentStreams: 256,
		MaxOwnStreams:        10240,
		MaxCallerStreams:     100,
		MaxHeaderBytes:       64 << 10,
		MaxHeaderFields:      100,
		MaxKeptHeads:         256 << 10,
		MaxHeads:             384 << 10,
		LongHead:             2 << 10,
		MaxKeptLongHeads:     2 << 20,
		MaxLongHeads:         4 << 20,

		StreamWindow:        65500,
		CallerWindow:        49125,
		ConnWindow:          1 << 20,
		SpareWindow:         1 << 18,
		SpareStreamWindow:   1 << 8,
		MaxOutput:           128 << 10,
		MaxHeld:             32 << 20,
		Mirrors:             defaultMirrorLimits(),
		MaxQueue:            2048,
		MaxOwnQueue:         20480,
		MaxHTTP1Conns:       8192,
		MaxHTTP2Conns:       4,
		MaxCloggedConns:     48,
		MaxFullConns:        44,
		MaxConnections:      16384,
		ReservedConnections: 2048,
		MaxTargets:          4096,
		EndpointRest:        time.Second,
		EndpointRestMax:     time.Minute,
		EWMADefaultRTT:      30 * time.Millisecond,
		EWMADecay:           10 * time.Second,
	}
}
