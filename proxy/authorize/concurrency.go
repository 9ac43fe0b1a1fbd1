package authorize

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

// Concurrency bounds how many requests are under way at an application, by what they take
// (gradient.go). A nil one bounds nothing. Use CompileConcurrency, and After before anything
// enters.
type Concurrency struct {
	counts   *metric.Concurrency
	underWay atomic.Int64
	limit    atomic.Int64 // the gradient's: read without the lock

	mu       sync.Mutex // guards everything below
	gradient gradient
}

// CompileConcurrency turns a message into a bound, or into none if there is no message. What this
// proxy does not understand is an error. It is told where to count.
func CompileConcurrency(
	m *api.Concurrency, counts func() *metric.Concurrency,
) (*Concurrency, error) {
	if m == nil {
		return nil, nil
	}
	b, err := compileBounds(m)
	if err != nil {
		return nil, fmt.Errorf("concurrency: %w", err)
	}
	c := &Concurrency{counts: counts(), gradient: newGradient(b, rand.Float64)}
	c.limit.Store(c.gradient.limit)
	return c, nil
}

// What destination leaves unsaid: Envoy's values. It has none for the two times, of which these are
// the ones of its documentation's example.
const (
	defaultPercentile = 50
	defaultWindow     = 100 * time.Millisecond
	defaultMinimum    = 3
	defaultMaximum    = 1000
	defaultBuffer     = 25
	defaultBaseline   = time.Minute
	defaultRequests   = 50
)

func compileBounds(m *api.Concurrency) (bounds, error) {
	if err := api.Understood(m); err != nil {
		return bounds{}, err
	}
	b := bounds{
		percentile: float64(cmp.Or(m.Percentile, defaultPercentile)) / 100,
		window:     orDefault(m.WindowMs, defaultWindow),
		min:        int64(cmp.Or(m.MinRequests, defaultMinimum)),
		max:        int64(cmp.Or(m.MaxRequests, defaultMaximum)),
		buffer:     float64(cmp.Or(m.BufferPercent, defaultBuffer)) / 100,
		every:      orDefault(m.BaselineMs, defaultBaseline),
		requests:   int(cmp.Or(m.BaselineRequests, defaultRequests)),
	}
	return b, checkBounds(m, &b)
}

func orDefault(ms uint64, d time.Duration) time.Duration {
	if ms == 0 {
		return d
	}
	return time.Duration(min(ms, uint64(api.MaxBaseline/time.Millisecond)+1)) * time.Millisecond
}

func checkBounds(m *api.Concurrency, b *bounds) error {
	switch {
	case m.Percentile > 99:
		return fmt.Errorf("percentile %d, and there are 99", m.Percentile)
	case b.window < api.MinConcurrencyWindow || b.window > api.MaxConcurrencyWindow:
		return fmt.Errorf("a window of %d ms, which is not %v to %v", m.WindowMs,
			api.MinConcurrencyWindow, api.MaxConcurrencyWindow)
	case b.max > api.MaxConcurrency:
		return fmt.Errorf("max_requests is %d, more than %d", b.max, api.MaxConcurrency)
	case b.min > b.max:
		return fmt.Errorf("min_requests is %d, more than max_requests, %d", b.min, b.max)
	case m.BufferPercent > api.MaxBufferPercent:
		return fmt.Errorf("a buffer of %d %%, more than %d", m.BufferPercent, api.MaxBufferPercent)
	case b.every < api.MinBaseline || b.every > api.MaxBaseline:
		return fmt.Errorf("a baseline of every %d ms, which is not %v to %v", m.BaselineMs,
			api.MinBaseline, api.MaxBaseline)
	case b.requests > api.MaxBaselineRequests:
		return fmt.Errorf("baseline_requests is %d, more than %d", b.requests,
			api.MaxBaselineRequests)
	}
	return nil
}

// After is the bound as it counts after another one of the same port, which goes on with what it
// has learned and with the requests that are under way. It must not be in use yet.
func (c *Concurrency) After(was *Concurrency) *Concurrency {
	if c == nil {
		return nil
	}
	if was == nil {
		was = c
	}
	was.mu.Lock()
	defer was.mu.Unlock()
	was.gradient.follow(c.gradient.bounds)
	was.showLocked()
	return was
}

// Enter counts a request among those under way, until Answered or Left; false: there is no room.
func (c *Concurrency) Enter(now time.Time) bool {
	if c.underWay.Add(1) <= c.limit.Load() || c.waitedLongEnough(now) {
		return true
	}
	c.underWay.Add(-1)
	c.counts.Refused.Inc()
	return false
}

// waitedLongEnough reports whether there is room all the same, for a measurement that held requests
// back has taken too long.
func (c *Concurrency) waitedLongEnough(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gradient.giveUp(now)
	c.showLocked()
	return c.underWay.Load() <= c.limit.Load()
}

// Answered ends what Enter began: a request that was let in at began has its answer.
func (c *Concurrency) Answered(began, now time.Time) {
	underWay := c.underWay.Add(-1) + 1
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gradient.observe(began, now, underWay)
	c.showLocked()
}

// Left ends what Enter began, of a request that failed, or that its caller gave up. All that this
// says is that a good answer would have taken longer, which is something only where it is more than
// it should take.
func (c *Concurrency) Left(began, now time.Time) {
	underWay := c.underWay.Add(-1) + 1
	c.mu.Lock()
	defer c.mu.Unlock()
	if least := c.gradient.least; least > 0 && now.Sub(began) > c.gradient.bearable() {
		c.gradient.observe(began, now, underWay)
		c.showLocked()
	}
}

// showLocked publishes what the gradient has come to.
func (c *Concurrency) showLocked() {
	c.limit.Store(c.gradient.limit)
	c.counts.Limit.Store(c.gradient.limit)
	c.counts.Least.Store(int64(c.gradient.least))
}
