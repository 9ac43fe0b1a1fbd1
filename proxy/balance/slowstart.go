package balance

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

// slowStart gives an endpoint that is new beside older ones its share little by little: it has
// caches to fill and code to compile. The share is Envoy's (its documentation, "Slow start mode"):
//
//	max(least, (max(age, 1 s) / window) ^ (1 / aggression))
type slowStart struct {
	window time.Duration
	least  float64
	power  float64 // 1 / aggression
}

const (
	// maxWindow bounds a slow start: an endpoint that is not warm within a day will not be.
	maxWindow = 24 * time.Hour
	// leastPercent is the share at the beginning, unless a cluster says so (Envoy's).
	leastPercent = 10
	// youngest is the least age that the curve knows (Envoy's).
	youngest = time.Second
)

func compileSlowStart(m *api.SlowStart) (*slowStart, error) {
	if m == nil {
		return nil, nil
	}
	window, aggression := m.WindowMs, m.Aggression
	if window == 0 || window > uint64(maxWindow.Milliseconds()) {
		return nil, fmt.Errorf("a slow start of %d ms: a window is from 1 ms to %v",
			window, maxWindow)
	}
	if aggression == 0 {
		aggression = 1
	}
	if !(aggression > 0) || math.IsInf(aggression, 1) {
		return nil, fmt.Errorf("a slow start's aggression of %v: it is more than 0", aggression)
	}
	least := m.MinWeightPercent
	if least == 0 {
		least = leastPercent
	}
	if least > 100 {
		return nil, fmt.Errorf("a slow start from %d %% of the share: there are 100", least)
	}
	return &slowStart{time.Duration(window) * time.Millisecond, float64(least) / 100,
		1 / aggression}, nil
}

// curve is what an endpoint of an age has of its share.
func (s *slowStart) curve(age time.Duration) float64 {
	if age >= s.window {
		return 1
	}
	part := float64(max(age, youngest)) / float64(s.window)
	return min(1, max(s.least, math.Pow(part, s.power)))
}

// ramp is the slow start of a set's endpoints that are younger than their peers. Peers are as old
// as their median, not as their oldest: while a deployment restarts, the last old ones would
// otherwise have the share of all that are new. So a restart of them all at once changes nothing,
// and one after the other nothing from the moment on at which most are new.
type ramp struct {
	*slowStart
	peers time.Duration // when they joined, since epoch
	until time.Duration // when the last window ends, since epoch
}

// newRamp is nil where no endpoint is younger than its peers.
func newRamp(s *slowStart, all []*Endpoint) *ramp {
	if s == nil {
		return nil
	}
	joined := make([]time.Duration, len(all))
	for i, e := range all {
		joined[i] = e.joined
	}
	slices.Sort(joined)
	r := &ramp{s, joined[(len(all)-1)/2], joined[len(all)-1] + s.window}
	if r.until == r.peers+s.window {
		return nil
	}
	return r
}

func (r *ramp) over(now time.Time) bool { return r == nil || now.Sub(epoch) >= r.until }

// factor is what an endpoint has of its share now, compared to its peers.
func (r *ramp) factor(e *Endpoint, now time.Time) float64 {
	if r == nil || e.joined <= r.peers {
		return 1
	}
	at := now.Sub(epoch)
	return min(1, r.curve(at-e.joined)/r.curve(at-r.peers))
}
