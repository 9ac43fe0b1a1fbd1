package api

import "time"

// What is said of a Lending, and how often.
const (
	// DemandEvery is how often a proxy says at most how much of a limit it needs, but for the
	// confirmations that it is asked for.
	DemandEvery = 3 * time.Second

	PoolLen = 32 // hexadecimal digits
	// MaxLendings bounds those of one proxy.
	MaxLendings = 64
	// MaxLendFor bounds for how long a proxy does without what it lends.
	MaxLendFor = 5 * time.Minute
)
