package route

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

func (u *Rule) compileHedge(m *api.HTTPRule) error {
	if m.Hedge == nil {
		return nil
	}
	if err := api.Understood(m.Hedge); err != nil {
		return err
	}
	if m.Retry == nil {
		return errors.New("a hedge of what may not be retried")
	}
	if u.Hedge = milliseconds(m.Hedge.AfterMs); u.Hedge < api.MinHedge {
		return fmt.Errorf("a hedge after %s, less than %s", u.Hedge, api.MinHedge)
	}
	p := m.Hedge.Percentile
	if p == 0 {
		return nil
	}
	if p < api.MinPercentile || p > api.MaxPercentile {
		return fmt.Errorf("a hedge at percentile %d, which is not %d to %d", p, api.MinPercentile,
			api.MaxPercentile)
	}
	u.Usual = NewUsual(float64(p) / 100)
	return nil
}

// HedgeAfter is what a try has before there is a second one beside it; 0: all it wants.
func (u *Rule) HedgeAfter() time.Duration {
	if u.Usual == nil {
		return u.Hedge
	}
	return max(u.Hedge, u.Usual.Get())
}

// Usual learns a quantile of times from a stream of them, in two words and without a lock. It is
// the stochastic approximation of Robbins and Monro (1951), which "Frugal Streaming for Estimating
// Quantiles" (Ma, Muthukrishnan, Sandler 2013) has in this form: a time above the estimate raises
// it by q of a step, one below lowers it by 1-q of one, so that it rests where q of the times are
// below. The steps are those of its logarithm, for times differ by orders of magnitude.
type Usual struct {
	q     float64       // 0 to 1
	bits  atomic.Uint64 // of the estimate, a float64 in nanoseconds
	count atomic.Uint32 // of times, up to enough
}

const (
	// usualStep is a step. The estimate of a p95 of log-normal times strays by a seventh; it takes
	// 220 times to come down to a third, and a dozen to go up to three times what it was.
	usualStep = 0.1
	// usualFirst is what the first steps are together: they begin large and become less.
	usualFirst = 2.0
	// usualEnough is how many times say something. Of a p99 one of them is above.
	usualEnough = 100
)

// NewUsual learns the quantile q, 0 to 1.
func NewUsual(q float64) *Usual { return &Usual{q: q} }

// Get is the estimate; 0: there were too few times to say.
func (u *Usual) Get() time.Duration {
	if u.count.Load() < usualEnough {
		return 0
	}
	return time.Duration(math.Float64frombits(u.bits.Load()))
}

// Observe takes a time. On a nil Usual it does nothing. Of two that come at once one may be lost.
func (u *Usual) Observe(d time.Duration) {
	if u == nil {
		return
	}
	n := u.count.Load()
	if n < usualEnough {
		n = u.count.Add(1)
	}
	old := u.bits.Load()
	next := float64(max(d, 1))
	if n > 1 {
		next = u.step(math.Float64frombits(old), next, n)
	}
	u.bits.CompareAndSwap(old, math.Float64bits(next))
}

// step is the estimate after the nth time.
func (u *Usual) step(estimate, time float64, n uint32) float64 {
	step := max(usualStep, usualFirst/float64(n))
	if time > estimate {
		return estimate * math.Exp(step*u.q)
	}
	return estimate * math.Exp(-step*(1-u.q))
}
