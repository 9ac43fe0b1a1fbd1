package api

import "time"

// MinHedge is the least time that a try has before another is sent beside it: the resolution of
// the proxy's timers.
const MinHedge = 5 * time.Millisecond

// What a rate limit may say. Its buckets are bounded by the proxy.
const (
	// MaxRateLimits bounds the limits of one port, each of which every request is held against.
	MaxRateLimits = 16
	// MaxRateRequests leaves a nanosecond between two requests, in the shortest
	// window.
	MaxRateRequests = 1e9
	MinRateWindow   = time.Second // in which Retry-After counts
	MaxRateWindow   = time.Hour   // what is not answered for longer is a quota, and not a rate
)

// What is said of an application's health, and how often.
const (
	// HealthRefresh is how often a proxy says again what it has found, about. HealthLifetime leaves
	// room for two that are lost, and for a stream that moves to another replica.
	HealthRefresh  = 20 * time.Second
	HealthLifetime = time.Minute

	MaxHealthReason = 256 // bytes
	MaxHealthPorts  = 32  // of one pod
	MaxStatusRanges = 8   // of one check
	MaxThreshold    = 100
	MaxCheckService = 256 // bytes of the name of a gRPC service

	// MinCheckInterval bounds what a policy can make a proxy do: each check is a connection.
	MinCheckInterval = 100 * time.Millisecond
	MaxCheckInterval = 10 * time.Minute
)

// Bounds of a Concurrency.
const (
	// MaxConcurrency bounds its bounds: no application has as many requests under way.
	MaxConcurrency = 1_000_000
	// MinConcurrencyWindow is as short as a few requests of the fastest applications take.
	MinConcurrencyWindow = 10 * time.Millisecond
	MaxConcurrencyWindow = time.Minute
	// MinBaseline leaves most of the time to requests that are not held back to measure.
	MinBaseline         = time.Second
	MaxBaseline         = time.Hour
	MaxBaselineRequests = 10_000
	MaxBufferPercent    = 1000
)

// Bounds of a hedge's percentile. Below the least most requests would be sent twice; above the
// most a few thousand answers say nothing.
const (
	MinPercentile = 50
	MaxPercentile = 99
)

// Bounds of a Retry.
const (
	// MaxTries bounds how often one request is sent, whatever its route says.
	MaxTries = 100
	// MaxBackoff bounds every pause before a retry that a route asks for: a request weighs on its
	// proxy meanwhile.
	MaxBackoff = time.Minute
)

// Bounds of an AccessLog.
const (
	MaxLogSample = 1_000_000 // one line of so many records is as few as anybody can tell apart
	MaxLogLines  = 100_000   // a second: more than one core writes
)

// What one stream may carry. Both ends hold to these, so neither can say what the other refuses.
const (
	// MaxRequest bounds a message from a proxy. A key has some 336 bytes at most, so it is Resume
	// that needs the room.
	MaxRequest = 64 << 10
	// MaxResponse bounds a message to a proxy. A set of endpoints that is larger comes in parts.
	MaxResponse = 1 << 20

	// MaxKeys bounds what one stream subscribes to: config.MaxTargets outbound, the inbound ports,
	// the clusters of routes that are kept, and some room.
	MaxKeys = 8192
	// MaxHeld bounds what one stream resumes: a route, a cluster and its endpoints for a key, and
	// as much again where traffic is split. What a proxy does not name, it is sent again.
	MaxHeld = 4 * MaxKeys
	// MaxName bounds the name of a key or of a resource: a DNS name of 253 bytes, a port, a variant
	// of 63 bytes, and the word that KeyString puts before it.
	MaxName = 336
	// VersionLen is the length of a version: hexadecimal digits.
	VersionLen = 24
	// MaxPath bounds a path in a PathModifier: Gateway API's own bound.
	MaxPath = 1024
	// MaxHost bounds a host in a Redirect or a Rewrite: that of a DNS name (RFC 1035 §2.3.4).
	MaxHost = 253
	// MaxFaultDelay bounds the delay of a Fault, which holds the request's memory meanwhile.
	MaxFaultDelay = 10 * time.Minute
	// MaxReason bounds the text of a Rejected.
	MaxReason = 1024
)
