package route

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"golang.org/x/net/http2/hpack"
)

// Fault is harm on purpose. It is immutable, but for its counter.
type Fault struct {
	match   matcher  // nil: every request
	callers []string // SPIFFE IDs; none: everybody
	delay   time.Duration
	delayed uint32 // of a million
	status  int    // of the error; 0: none
	aborted uint32 // of a million
	until   time.Time
	count   atomic.Uint64 // of the requests that it matched
}

// million is what shares are of.
const million = 1_000_000

// The steps of the two shares: 2^64 divided by the plastic number and by its square. Their
// multiples fill a square evenly (Roberts' R2 sequence), so each share is kept of any few requests,
// and the requests that are delayed are aborted as often as others.
const (
	delayStep = 0xC13FA9A902A6328F
	abortStep = 0x91E10DA5C79E7B1C
)

// Befalls says what happens to a caller's request on purpose: a delay, and after it an error's
// status; 0 for neither. Of several faults the delays add up, and the first error counts.
func (u *Rule) Befalls(
	req []hpack.HeaderField, caller string, now time.Time,
) (delay time.Duration, status int) {
	for _, f := range u.Faults {
		if !f.Means(req, caller, now) {
			continue
		}
		n := f.count.Add(1)
		if within(n*delayStep, uint64(f.delayed), million) {
			delay += f.delay
		}
		if status == 0 && within(n*abortStep, uint64(f.aborted), million) {
			status = f.status
		}
	}
	return delay, status
}

// Means reports whether a caller's request is one of which the fault has its shares.
func (f *Fault) Means(req []hpack.HeaderField, caller string, now time.Time) bool {
	return now.Before(f.until) && (len(f.callers) == 0 || slices.Contains(f.callers, caller)) &&
		(f.match == nil || f.match(req))
}

// within reports whether a point of an interval of 2^64 is in the first parts of so many.
func within(point, parts, of uint64) bool {
	at, _ := bits.Mul64(point, of)
	return at < parts
}

func compileFaults(list []*api.Fault) (out []*Fault, err error) {
	for _, m := range list {
		f, err := compileFault(m)
		if err != nil {
			return nil, fmt.Errorf("fault: %w", err)
		}
		out = append(out, f)
	}
	return out, nil
}

func compileFault(m *api.Fault) (f *Fault, err error) {
	f = &Fault{}
	if m.GetMatch() != nil {
		if f.match, err = CompileMatch(m.Match); err != nil {
			return nil, err
		}
	}
	if err := checkFault(m); err != nil {
		return nil, err
	}
	f.delay, f.delayed = milliseconds(m.DelayMs), m.DelayShare
	f.status, f.aborted = int(m.Status), m.AbortShare
	f.callers = m.Callers
	f.until = time.Unix(0, 0).Add(milliseconds(m.UntilMs))
	return f, nil
}

func checkFault(m *api.Fault) error {
	if err := api.Understood(m); err != nil {
		return err
	}
	switch {
	case m.GetDelayMs() > uint64(api.MaxFaultDelay/time.Millisecond):
		return fmt.Errorf("a delay of %d ms is more than %s", m.DelayMs, api.MaxFaultDelay)
	case m.GetDelayShare() > million || m.GetAbortShare() > million:
		return errors.New("a share is of a million")
	case m.GetStatus() != 0 && (m.GetStatus() < 400 || m.GetStatus() > 599):
		return fmt.Errorf("status %d is not 400 to 599", m.GetStatus())
	}
	return nil
}
