package balance

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

// Place says which of a cluster's endpoints come first. It is immutable.
type Place struct {
	own      *api.Locality // where this proxy is; nil: nobody has said how near what is
	near     func(own, e *api.Locality) int
	within   int // of what is as near as this, all comes before failover
	failover []*api.Locality
	byHealth bool // slow answers send nobody elsewhere
}

// mostFailover bounds how many places one by one a cluster falls back on.
const mostFailover = 16

func compilePlace(m *api.LocalityPreference, own *api.Locality) (*Place, error) {
	if m == nil {
		return nil, nil
	}
	if err := cmp.Or(api.Understood(m), checkFailover(m.Failover)); err != nil {
		return nil, err
	}
	p := &Place{failover: m.Failover, byHealth: m.ByHealth}
	known := ""
	switch m.Prefer {
	case api.Nearness_NEARNESS_NODE:
		p.near, p.within, known = nearNode, 1, own.GetNode()
	case api.Nearness_NEARNESS_ZONE:
		p.near, known = nearZone, own.GetZone()
	case api.Nearness_NEARNESS_REGION:
		p.near, known = nearRegion, own.GetRegion()
	default:
		return nil, fmt.Errorf(
			"a locality preference: prefer is %d, which this proxy does not know", m.Prefer)
	}
	if known != "" {
		p.own = own
	}
	return p, nil
}

func checkFailover(list []*api.Locality) error {
	if len(list) > mostFailover {
		return fmt.Errorf("a locality preference with %d places to fail over to: at most %d",
			len(list), mostFailover)
	}
	for _, to := range list {
		if err := api.Understood(to); err != nil {
			return err
		}
		if to.Region == "" && to.Zone == "" {
			return errors.New("a locality preference: failover to no place")
		}
	}
	return nil
}

// Each says how far away an endpoint is; 0: it is as near as is asked for.
func nearNode(own, e *api.Locality) int {
	if shared(own.GetNode(), e.GetNode()) {
		return 0
	}
	return 1 + nearZone(own, e)
}

func nearZone(own, e *api.Locality) int {
	if shared(own.GetZone(), e.GetZone()) {
		return 0
	}
	return 1 + nearRegion(own, e)
}

func nearRegion(own, e *api.Locality) int {
	if shared(own.GetRegion(), e.GetRegion()) {
		return 0
	}
	return 1
}

// Nearness is how near to this proxy the endpoint is.
func (e *Endpoint) Nearness() metric.Nearness {
	there := e.place.Load()
	if there == nil {
		return metric.UnknownNearness
	}
	own := e.cluster.Current().Params.Own
	switch {
	case own.GetZone() == "" || there.Zone == "":
		return metric.UnknownNearness
	case own.Zone == there.Zone:
		return metric.SameZone
	case shared(own.Region, there.Region):
		return metric.SameRegion
	}
	return metric.Farther
}

func shared(own, other string) bool { return own != "" && own == other }

// rank orders endpoints: who has a lower one comes first. Its priority counts before how near it
// is. What is beyond the proxy's own place is as the failover lists it, and then as near as it is.
func (p *Place) rank(e *api.Locality) rank {
	r := rank{priority: e.GetPriority()}
	if p.own == nil {
		return r
	}
	if r.distance = p.near(p.own, e); r.distance > p.within {
		i := slices.IndexFunc(p.failover, func(to *api.Locality) bool { return covers(to, e) })
		if i >= 0 {
			r.distance = p.within + 1 + i
		} else {
			r.distance += len(p.failover)
		}
	}
	return r
}

func covers(place, e *api.Locality) bool {
	return (place.Region == "" || place.Region == e.GetRegion()) &&
		(place.Zone == "" || place.Zone == e.GetZone())
}

type rank struct {
	priority uint32
	distance int
}

func (r rank) compare(o rank) int {
	return cmp.Or(cmp.Compare(r.priority, o.priority), cmp.Compare(r.distance, o.distance))
}
