package balance

import (
	"fmt"
	"slices"

	"github.com/tulle-mesh/tulle/destination/api"
)

// leastRequest takes, of some endpoints at random, the one with the fewest requests under way
// (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001). With weights they
// are drawn in proportion, and the fewest for its weight counts: of idle endpoints each has its
// share, and of busy ones what is under way is in proportion.
type leastRequest struct{ choices int }

const (
	defaultChoices = 2
	// maxChoices bounds what a pick looks at. More than a few change little: the fullest endpoint's
	// excess falls with the logarithm of their number only.
	maxChoices = 32
)

func compileLeastRequest(m *api.LeastRequest) (method, error) {
	n := int(min(m.GetChoices(), maxChoices+1))
	switch {
	case n == 0:
		n = defaultChoices
	case n < 2, n > maxChoices:
		return nil, fmt.Errorf("a least request of %d choices: there are 2 to %d",
			m.GetChoices(), maxChoices)
	}
	return leastRequest{n}, nil
}

func (l leastRequest) picker(*EndpointSet, picker) picker { return l }

func (l leastRequest) pick(s *EndpointSet, k Key) *Endpoint {
	var best *Endpoint
	var least float64
	var drawn [maxChoices]int
	even := s.even(k.Now)
	for n := range min(l.choices, len(s.All)) {
		i := s.drawBeside(drawn[:n], even, k)
		drawn[n] = i
		e := s.All[i]
		if !wants(e, k) {
			continue
		}
		load := float64(e.Pending())
		if !even {
			load /= s.share(i, k.Now)
		}
		if best == nil || load < least {
			best, least = e, load
		}
	}
	if best == nil {
		return s.pickReady(k)
	}
	return best
}

// drawBeside draws another than those that were drawn; but where shares differ it may be the same
// again: of two endpoints, both would be drawn each time, and neither's share would count.
func (s *EndpointSet) drawBeside(drawn []int, even bool, k Key) int {
	if !even {
		return s.draw(k.Now)
	}
	for {
		if i := s.intN(len(s.All)); !slices.Contains(drawn, i) {
			return i
		}
	}
}
