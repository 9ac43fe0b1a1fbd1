package route

import (
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

// budgetSlots divides a budget's ttl: a request's deposit expires within a tenth of the ttl of its
// time.
const budgetSlots = 10

// Budget bounds retries to a share of the requests of the last ttl, plus a minimum a second, so
// that a service that fails altogether is not sent a multiple of its load (Finagle's RetryBudget,
// which ServiceProfiles are defined by).
type Budget struct {
	mu      sync.Mutex // guards everything below
	ratio   float64
	reserve float64       // retries that the minimum allows in one ttl
	slot    time.Duration // ttl / budgetSlots
	current int64         // index of the newest slot since the epoch
	deposit [budgetSlots]uint32
	spent   [budgetSlots]uint32
}

// NewBudget makes a budget without a history; nil: the defaults.
func NewBudget(m *api.RetryBudget) *Budget {
	b := &Budget{}
	b.Configure(m)
	return b
}

// Configure applies a changed message and keeps the history.
func (b *Budget) Configure(m *api.RetryBudget) {
	ratio, least, ttl := 0.2, uint32(10), 10*time.Second
	if m != nil {
		ratio, least = m.RetryRatio, m.MinRetriesPerSecond
		ttl = time.Duration(m.TtlMs) * time.Millisecond
	}
	if ttl < time.Second || ttl > time.Minute {
		ttl = 10 * time.Second
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ratio, b.reserve, b.slot = ratio, float64(least)*ttl.Seconds(), ttl/budgetSlots
}

// Deposit counts an original request.
func (b *Budget) Deposit(now time.Time) {
	b.mu.Lock()
	b.deposit[b.advance(now)]++
	b.mu.Unlock()
}

// Withdraw reports whether one more retry fits, and counts it.
func (b *Budget) Withdraw(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := b.advance(now)
	var requests, retries uint32
	for k := range b.deposit {
		requests += b.deposit[k]
		retries += b.spent[k]
	}
	if float64(retries)+1 > b.ratio*float64(requests)+b.reserve {
		return false
	}
	b.spent[i]++
	return true
}

// advance forgets the slots that time has passed and returns the present one.
func (b *Budget) advance(now time.Time) int {
	n := now.UnixNano() / int64(b.slot)
	if n-b.current > budgetSlots {
		b.current = n - budgetSlots
	}
	for b.current < n {
		b.current++
		i := b.current % budgetSlots
		b.deposit[i], b.spent[i] = 0, 0
	}
	return int(n % budgetSlots)
}
