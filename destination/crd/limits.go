package crd

import "time"

// Bounds of a profile. They keep what a request must be matched against small, and the cost that
// the API server estimates for the CEL rules within what it allows one CustomResourceDefinition.
const (
	MaxRoutes          = 128
	MaxResponseClasses = 8
	MaxDstOverrides    = 64
	MaxOpaquePorts     = 128
	MaxRegex           = 512
	MaxRouteName       = 253
	// MaxSpec bounds all of it together, in bytes of JSON: what proxies are sent fits one message
	// then. The API server cannot check this one.
	MaxSpec = 512 << 10
	// MaxDepth is how deep all, any and not nest below a condition.
	MaxDepth = 3

	// MinHedge is the least time before a hedge: proxies refuse less (destination/api).
	MinHedge = 5 * time.Millisecond
	// MinPercentile and MaxPercentile bound a hedge's: proxies refuse others.
	MinPercentile, MaxPercentile = 50, 99

	maxTimeout = 24 * time.Hour
	// minTTL and maxTTL bound a retry budget's window. In a shorter one a few requests decide; a
	// longer one still counts failures that are over. Linkerd's proxy has the same bounds.
	minTTL = time.Second
	maxTTL = time.Minute

	// What a RateLimitPolicy may say: proxies refuse more (destination/api).
	MaxRateLimits   = 16
	MaxRateKeys     = 4
	MaxLimitName    = 63
	MaxRateRequests = 1_000_000_000
	MinRateWindow   = time.Second
	MaxRateWindow   = time.Hour
	MaxFieldMatches = 16 // of headers, and of query parameters: as in HTTPRoutes
	MaxFieldValue   = 4096

	// maxRetriesPerSecond is more than a proxy can do.
	maxRetriesPerSecond = 1_000_000
)

// listLimit is how many conditions an all or any holds at each depth: fewer the deeper, for their
// numbers multiply.
func listLimit(depth int) int64 {
	return []int64{10, 4, 2}[depth]
}
