package config

import "time"

// DrainGrace is the default of EnvDrainGrace: Kubernetes' own default termination grace.
const DrainGrace = 30 * time.Second

// Limits of detection and of opaque connections.
const (
	DetectBytes = 16 << 10 // a ClientHello with post-quantum keys and many extensions fits
	IdleTCP     = time.Hour
)

// Limits are the bounds and times that the proxy lives by. DefaultLimits has the values that every
// proxy runs with; no variable changes them. They are data so that a test need not wait for a
// minute, or make a thousand of something, to see what a proxy does then.
type Limits struct {
	// DetectTimeout is how long a caller may say nothing before its server is heard, which may be
	// one that speaks first. Linkerd's 10 s stalls such protocols where it was not told of them.
	DetectTimeout time.Duration
	// DiscoveryWait is how long a first request waits for destination, and any request for an
	// endpoint, a connection or a stream, before it fails.
	DiscoveryWait time.Duration
	// DialTimeout bounds a dial. Inside a cluster a SYN that took a second was lost.
	DialTimeout time.Duration
	// MaxTries of one request, the first included.
	MaxTries int
	// RetryBodyLimit is how much of a request's body is kept, in bytes. A request with a longer one
	// is not retried.
	RetryBodyLimit int
	// A retry at the same endpoint waits between half of RetryBackoffMin and RetryBackoffMax.
	RetryBackoffMin, RetryBackoffMax time.Duration

	// IdleHTTP is how long a connection is kept without a request.
	IdleHTTP time.Duration
	// HeaderTimeout is from a head's first byte to its last, or of what may become one: slowloris.
	HeaderTimeout time.Duration
	// BodyIdle is how long a request's body, but gRPC's, may pause before there is an answer:
	// Envoy's value.
	BodyIdle time.Duration
	// BodyStall is how long a stream lives whose peer takes nothing of what is held for it.
	BodyStall time.Duration
	// MeshKeepAlive is how long a proxy that we are connected to may say nothing before it gets a
	// PING, and how long it may take to answer. Only proxies are asked: gRPC's servers allow a PING
	// every five minutes, and end the connection of who sends four sooner (gRPC A8).
	MeshKeepAlive time.Duration
	// PeerTimeout is how long the kernel of a peer in plaintext may say nothing: TCP's keep-alive,
	// and of HTTP its user timeout too (RFC 5482). It finds a peer that vanished without a word.
	// The user timeout counts a window that stays closed as well, so it is longer than BodyStall,
	// which says so in HTTP.
	PeerTimeout time.Duration

	// MaxConcurrentStreams on a connection of a proxy to a proxy or backend; x/net's default is
	// 250.
	MaxConcurrentStreams int
	// MaxCallerStreams on a connection of anyone else: HAProxy's default. It bounds what the
	// requests of a stranger weigh.
	MaxCallerStreams int
	// MaxHeaderBytes of a decoded header list, counted as RFC 9113 §6.5.2 does: 32 bytes a field
	// beside its text.
	MaxHeaderBytes int
	// MaxHeaderFields of a header list, cookie crumbs included: the HTTP/2 bomb.
	MaxHeaderFields int
	// MaxKeptHeads are the heads of one connection's requests that wait for an answer, in bytes.
	// Beyond it a head that was sent is not kept for a retry.
	MaxKeptHeads int
	// MaxHeads are those and the heads that are not sent yet, in bytes. Beyond it requests are
	// refused, to be tried again.
	MaxHeads int
	// LongHead tells long heads from the others, in bytes. The number of streams bounds well enough
	// what short ones take.
	LongHead int
	// MaxKeptLongHeads is MaxKeptHeads for the long heads of all callers together: a hundred
	// hostile callers may not take 64 MiB. MaxLongHeads is MaxHeads for them.
	MaxKeptLongHeads, MaxLongHeads int

	// StreamWindow is what one stream may have buffered here: four DATA frames, each filling a TLS
	// record.
	StreamWindow int
	// CallerWindow is the same for the body of an HTTP/1 caller. More would only wait for the
	// connection that all share, and leave the processor's cache.
	CallerWindow int
	// ConnWindow: sixteen streams that nobody reads do not hold up the others on their connection.
	ConnWindow int
	// SpareWindow is ConnWindow for connections to an endpoint that exist only because the others
	// have no room.
	SpareWindow int
	// SpareStreamWindow is the window of their streams before anything was taken: all of them
	// together leave three quarters of SpareWindow.
	SpareStreamWindow int
	// MaxOutput is a connection's unsent output beyond which data stays with its stream: what one
	// read brings.
	MaxOutput int

	// MaxQueue requests wait for one endpoint set.
	MaxQueue int
	// MaxHTTP1Conns to one endpoint: HTTP/1 needs one a request.
	MaxHTTP1Conns int
	// MaxHTTP2Conns to one endpoint, but for those that have no room for another request. One
	// connection keeps a core busy.
	MaxHTTP2Conns int
	// MaxCloggedConns are connections to one endpoint whose window slow callers have filled, each
	// of SpareWindow.
	MaxCloggedConns int
	// MaxFullConns are connections to one endpoint on which MaxConcurrentStreams wait for answers,
	// which hold little.
	MaxFullConns int
	// MaxConnections that were accepted, by all listeners together.
	MaxConnections int
	// MaxTargets are destinations remembered (LRU).
	MaxTargets int

	// EndpointRest is how long an endpoint that could not be dialed is passed over while another is
	// there: long enough for a dead pod to leave the endpoint set, short enough that one which
	// recovered is soon used.
	EndpointRest time.Duration
	// EWMADefaultRTT is an endpoint's latency before the first sample (Linkerd's value), EWMADecay
	// how fast what was measured is forgotten; destination may say others for a cluster.
	EWMADefaultRTT, EWMADecay time.Duration
}

// DefaultLimits are the limits of every proxy that is not in a test.
func DefaultLimits() Limits {
	return Limits{
		DetectTimeout:   time.Second,
		DiscoveryWait:   3 * time.Second,
		DialTimeout:     time.Second,
		MaxTries:        5,
		RetryBodyLimit:  64 << 10,
		RetryBackoffMin: 25 * time.Millisecond,
		RetryBackoffMax: 250 * time.Millisecond,

		IdleHTTP:      60 * time.Second,
		HeaderTimeout: 10 * time.Second,
		BodyIdle:      5 * time.Minute,
		BodyStall:     60 * time.Second,
		MeshKeepAlive: 10 * time.Second,
		PeerTimeout:   90 * time.Second,

		MaxConcurrentStreams: 256,
		MaxCallerStreams:     100,
		MaxHeaderBytes:       64 << 10,
		MaxHeaderFields:      100,
		MaxKeptHeads:         256 << 10,
		MaxHeads:             384 << 10,
		LongHead:             2 << 10,
		MaxKeptLongHeads:     2 << 20,
		MaxLongHeads:         4 << 20,

		StreamWindow:      65500,
		CallerWindow:      49125,
		ConnWindow:        1 << 20,
		SpareWindow:       1 << 18,
		SpareStreamWindow: 1 << 8,
		MaxOutput:         128 << 10,

		MaxQueue:        1024,
		MaxHTTP1Conns:   1024,
		MaxHTTP2Conns:   4,
		MaxCloggedConns: 48,
		MaxFullConns:    60,
		MaxConnections:  16384,
		MaxTargets:      4096,

		EndpointRest:   time.Second,
		EWMADefaultRTT: 30 * time.Millisecond,
		EWMADecay:      10 * time.Second,
	}
}
