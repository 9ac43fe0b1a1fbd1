package balance

// random takes any endpoint, in proportion to its share.
type random struct{}

// drawsReady is how often it is tried to draw an endpoint that may be picked before all are looked
// at.
const drawsReady = 4

func (random) picker(*EndpointSet, picker) picker { return random{} }

func (random) pick(s *EndpointSet, k Key) *Endpoint {
	for range drawsReady {
		if e := s.All[s.draw(k.Now)]; wants(e, k) {
			return e
		}
	}
	return s.pickReady(k)
}
