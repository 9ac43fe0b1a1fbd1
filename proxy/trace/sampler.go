package trace

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Million is what ratios are parts of.
const Million = 1_000_000

// Verdict is what becomes of a request's span.
type Verdict uint8

const (
	Ignore Verdict = iota // there is none, and the request goes on as it came
	Capped                // the same, for there are more spans than may be exported
	Export
	Hold // it is exported if it turns out to be worth it; the trace is not marked as sampled
)

// Sampling is which requests are traced. What somebody before has decided holds.
type Sampling struct {
	Ratio     uint32 // of the traces that begin here, of a Million
	Hold      bool   // all others are held, but for those of whom nobody wants a trace
	PerSecond uint32 // most spans that are exported; at least one
}

// Sampler decides. Its methods may be called from any goroutine.
type Sampler struct {
	Sampling
	threshold uint64 // traces whose ID's low 56 bits are less are not sampled
	state     string // of those that are
	limit     limiter
	random    func() uint64
}

// idBits are the bits of a trace's ID that must be random, which the decision is made by: so all
// who decide by them agree (Trace Context Level 2, and OpenTelemetry's consistent probability
// sampling).
const idBits = 56

// NewSampler makes a sampler.
func NewSampler(s Sampling) *Sampler {
	t := &Sampler{Sampling: s, threshold: threshold(s.Ratio), random: rand.Uint64}
	t.state = "ot=th:" + hexOf(t.threshold)
	t.limit.interval = int64(time.Second) / int64(max(s.PerSecond, 1))
	return t
}

// threshold is the share of all IDs that are not sampled.
func threshold(ratio uint32) uint64 {
	high, low := bits.Mul64(uint64(Million-min(ratio, Million)), 1<<idBits)
	quotient, _ := bits.Div64(high, low, Million)
	return quotient
}

// hexOf is a threshold as a tracestate has it: 14 digits, without the zeros at their end.
func hexOf(threshold uint64) string {
	digits := strconv.FormatUint(threshold|1<<idBits, 16)[1:]
	if digits = strings.TrimRight(digits, "0"); digits == "" {
		return "0"
	}
	return digits
}

// Decide decides at a request's beginning, and makes c what the request goes on with. With Ignore
// and Capped it must not be written.
func (s *Sampler) Decide(c *Context, now time.Time) Verdict {
	begins, asked := c.Trace == ID{}, c.Choice
	low := binary.BigEndian.Uint64(c.Trace[8:])
	if begins {
		low = s.random()
	}
	yes := asked == Yes || asked == Open && low<<(64-idBits)>>(64-idBits) >= s.threshold
	switch {
	case yes && !s.limit.take(now, 1):
		return Capped
	case !yes && (!s.Hold || begins && asked == No):
		return Ignore
	}
	if begins {
		state := ""
		if yes && asked == Open {
			state = s.state
		}
		c.begin(s.random(), low, state)
	}
	if !yes {
		c.Choice = No
		return Hold
	}
	c.Choice = Yes
	return Export
}

// Take reports whether a span more may be exported, of a request that was held.
func (s *Sampler) Take(now time.Time) bool { return s.limit.take(now, 1) }

// Charge counts n spans more, of a request that has been admitted: they are exported, and others
// are not.
func (s *Sampler) Charge(now time.Time, n int) { s.limit.charge(now, int64(n)) }

// limiter lets through so many in a second, and as many at once (GCRA: ITU-T I.371, annex A).
type limiter struct {
	interval int64        // between two, in nanoseconds
	due      atomic.Int64 // the time at which all that were let through are due
}

func (l *limiter) take(now time.Time, n int64) bool {
	at := now.UnixNano()
	for {
		due := l.due.Load()
		next := max(due, at) + n*l.interval
		if next-at > int64(time.Second) {
			return false
		}
		if l.due.CompareAndSwap(due, next) {
			return true
		}
	}
}

// charge counts without asking, up to a second's worth: an outage's retries are not to be paid for
// by silence long after it.
func (l *limiter) charge(now time.Time, n int64) {
	at := now.UnixNano()
	for {
		due := l.due.Load()
		next := min(max(due, at)+n*l.interval, max(due, at+int64(time.Second)))
		if l.due.CompareAndSwap(due, next) {
			return
		}
	}
}
