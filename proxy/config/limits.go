package config

import "time"

// Every limit of the proxy, each with its reason.
const (
	DetectTimeout   = time.Second     // then opaque; Linkerd's 10 s stalls server-speaks-first protocols it was not told of
	DetectBytes     = 16 << 10        // a ClientHello with post-quantum keys and many extensions fits
	DiscoveryWait   = 3 * time.Second // how long a first request waits for destination before it fails closed
	DialTimeout     = time.Second     // inside a cluster a SYN that took longer was lost
	MaxTries        = 5               // the first included
	RetryBodyLimit  = 64 << 10        // a longer body is not kept, so its request is not retried
	RetryBackoffMin = 25 * time.Millisecond
	RetryBackoffMax = 250 * time.Millisecond
	DrainGrace      = 30 * time.Second // Kubernetes' own default termination grace
	IdleHTTP        = 60 * time.Second
	IdleTCP         = time.Hour
	HeaderTimeout   = 10 * time.Second // from a request's first byte to the end of its headers: slowloris
	BodyIdle        = 5 * time.Minute  // a request's body, but gRPC's, may pause for so long before there is an answer: Envoy's
	BodyStall       = 60 * time.Second // a stream whose peer takes nothing of what is held for it for so long is reset

	MaxConcurrentStreams = 256       // per connection of a proxy to a proxy or backend; x/net's default is 250
	MaxCallerStreams     = 100       // per connection of anyone else's, HAProxy's default: what a stranger's requests may weigh
	MaxHeaderBytes       = 64 << 10  // a decoded header list, counted as RFC 9113 §6.5.2 does (32 bytes a field)
	MaxKeptHeads         = 256 << 10 // of requests of one connection that wait for an answer; beyond it they are not kept for a retry
	MaxHeads             = 384 << 10 // with those that are not sent yet; beyond it requests are refused, to be tried again
	LongHead             = 2 << 10   // most are shorter, in memory: those, the number of streams bounds well enough
	MaxKeptLongHeads     = 2 << 20   // of long ones, all callers' together, where sent ones are no longer kept: a hundred hostile callers may not take 64 MiB
	MaxLongHeads         = 4 << 20   // with those that are not sent yet
	MaxHeaderFields      = 100       // cookie crumbs included: the HTTP/2 bomb
	StreamWindow         = 65500     // what one stream may have buffered here: four DATA frames, each filling a TLS record
	CallerWindow         = 49125     // the same for an HTTP/1 caller's body: more would only wait for the connection that all share, and leave the cache
	ConnWindow           = 1 << 20   // sixteen streams that nobody reads do not hold up the others on their connection
	SpareWindow          = 1 << 18   // of connections to an endpoint that are there only because others have no room
	SpareStreamWindow    = 1 << 8    // of their streams, before anything was taken: all of them together leave three quarters of SpareWindow
	MaxOutput            = 128 << 10 // a connection's unsent output, beyond which data stays with its stream: what one read brings
	MaxQueue             = 1024      // requests that wait for one endpoint set
	MaxConnections       = 16384     // accepted, all listeners together
	MaxTargets           = 4096      // destinations remembered (LRU)

	EWMADefaultRTT = 30 * time.Millisecond // before the first sample: Linkerd's
	EWMADecay      = 10 * time.Second
)
