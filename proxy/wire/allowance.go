package wire

import (
	"math"
	"sync/atomic"
)

const (
	// shares: a buffer of one connection may have such a part of what is left. Until half of 32 MiB
	// is held no connection has less than without an Allowance.
	shares = 128
	// leastShare moves on even where nothing is left, in bytes.
	leastShare = leastOutput
)

// Allowance bounds what connections hold, all together, for peers that are slow to take it: output,
// what streams keep, and input that has nowhere to go. The more is held, the less another may hold
// (the dynamic threshold of Choudhury and Hahne): hundreds that take nothing leave room for those
// that do, and whoever takes all at once holds nothing. A nil Allowance has no bound. Any goroutine
// may use it.
type Allowance struct {
	Limit int // bytes
	held  atomic.Int64
}

// Share is how much each buffer of a connection may hold now, in bytes.
func (a *Allowance) Share() int {
	if a == nil {
		return math.MaxInt
	}
	return max(leastShare, (a.Limit-a.Held())/shares)
}

// Held is what is held, in bytes of memory.
func (a *Allowance) Held() int { return int(a.held.Load()) }

// Add notes that n bytes more are held, or less.
func (a *Allowance) Add(n int) {
	if a != nil && n != 0 {
		a.held.Add(int64(n))
	}
}

// short says whether buffers must be no larger than what they hold.
func (a *Allowance) short() bool { return a.Share() < readSize }
