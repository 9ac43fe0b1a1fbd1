package balance

import (
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

// weightsOf are the endpoints' weights; nil: all are the same.
func weightsOf(list []*api.Endpoint) []float64 {
	if len(list) == 0 || !slices.ContainsFunc(list, func(m *api.Endpoint) bool {
		return weightOf(m) != weightOf(list[0])
	}) {
		return nil
	}
	weights := make([]float64, len(list))
	for i, m := range list {
		weights[i] = weightOf(m)
	}
	return weights
}

// part is what the ith endpoint has of all weight, from 0 to 1.
func (s *EndpointSet) part(i int) float64 {
	if s.weights == nil {
		return 1 / float64(len(s.All))
	}
	return s.weights[i] / s.total
}

func weightOf(m *api.Endpoint) float64 { return float64(max(1, m.Weight)) }

// column of an alias table is an endpoint up to some part of it, and another above.
type column struct {
	part  float64
	other int
}

// aliasTable draws in proportion to weights in constant time (Walker's alias method as in Vose, "A
// Linear Algorithm for Generating Random Numbers with a Given Distribution", 1991).
func (s *EndpointSet) aliasTable() []column {
	if s.weights == nil {
		return nil
	}
	columns, left := make([]column, len(s.All)), make([]float64, len(s.All))
	for i := range left {
		columns[i] = column{1, i} // where rounding leaves one over
		left[i] = s.part(i) * float64(len(s.All))
	}
	var small, large []int
	for i, w := range left {
		if w < 1 {
			small = append(small, i)
		} else {
			large = append(large, i)
		}
	}
	for len(small) > 0 && len(large) > 0 {
		less, more := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		columns[less] = column{left[less], more}
		if left[more] += left[less] - 1; left[more] < 1 {
			large, small = large[:len(large)-1], append(small, more)
		}
	}
	return columns
}

// even reports whether every endpoint has the same share.
func (s *EndpointSet) even(now time.Time) bool { return s.weights == nil && s.ramp.over(now) }

// mostDraws bounds a draw where nearly all endpoints are new: one old one beside hundreds that are
// let have a tenth of their share is found by one draw in ten, and missed by this many once in ten
// thousand.
const mostDraws = 64

// draw is the number of an endpoint at random, in proportion to its share.
func (s *EndpointSet) draw(now time.Time) (i int) {
	for range mostDraws {
		if i = s.drawWeight(); s.admits(s.All[i], now) {
			break
		}
	}
	return i
}

// drawWeight is draw by weight alone.
func (s *EndpointSet) drawWeight() int {
	i := s.intN(len(s.All))
	if s.weights == nil {
		return i
	}
	if c := s.columns[i]; s.float() >= c.part {
		return c.other
	}
	return i
}

// admits lets an endpoint have what is its turn, or as much of it as slow start does.
func (s *EndpointSet) admits(e *Endpoint, now time.Time) bool {
	f := s.ramp.factor(e, now)
	return f >= 1 || s.float() < f
}

// share is the ith endpoint's, relative to the mean.
func (s *EndpointSet) share(i int, now time.Time) float64 {
	return s.part(i) * float64(len(s.All)) * s.ramp.factor(s.All[i], now)
}
