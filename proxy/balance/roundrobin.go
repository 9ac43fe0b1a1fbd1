package balance

import (
	"math"
	"slices"
	"sync/atomic"
)

// roundRobin takes the endpoints one after the other, from one at random: the proxies of a
// deployment that start together would otherwise all begin with the first.
type roundRobin struct{}

// rotation is where a round robin is. With weights it is the static stride scheduler of gRPC (gRFC
// A58, "client-side weighted round robin"): each round passes over an endpoint as often as its
// weight is less than the greatest, spread over the rounds. Unlike an EDF queue it has no lock.
type rotation struct {
	next    *atomic.Uint64 // turn, of this set and those after it
	strides []uint64       // of the endpoints, up to maxStride; nil: all are the same
}

const (
	maxStride = math.MaxUint16
	// strideOffset spreads those that are passed over: endpoints of the same weight take turns.
	strideOffset = maxStride / 2
	// mostRounds bounds how long an endpoint is looked for. The heaviest is in every round, so more
	// are only needed where it may not be picked.
	mostRounds = 4
)

func (roundRobin) picker(s *EndpointSet, was picker) picker {
	r := &rotation{next: &atomic.Uint64{}, strides: stridesOf(s.weights)}
	if old, ok := was.(*rotation); ok {
		r.next = old.next
	} else {
		r.next.Store(uint64(s.intN(math.MaxInt32)))
	}
	return r
}

func stridesOf(weights []float64) []uint64 {
	if weights == nil {
		return nil
	}
	greatest, strides := slices.Max(weights), make([]uint64, len(weights))
	for i, w := range weights {
		strides[i] = max(1, uint64(math.Round(maxStride*w/greatest)))
	}
	return strides
}

func (r *rotation) pick(s *EndpointSet, k Key) *Endpoint {
	n := uint64(len(s.All))
	for range mostRounds * n {
		turn := r.next.Add(1) - 1
		i := turn % n
		e := s.All[i]
		if r.due(i, turn/n) && wants(e, k) && s.admits(e, k.Now) {
			return e
		}
	}
	return s.pickReady(k)
}

// due reports whether it is the ith endpoint's turn in a round.
func (r *rotation) due(i, round uint64) bool {
	if r.strides == nil {
		return true
	}
	w := r.strides[i]
	return (w*round+i*strideOffset)%maxStride >= maxStride-w
}
