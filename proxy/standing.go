package proxy

import (
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/balance"
	vizapi "github.com/tulle-mesh/tulle/viz/api"
)

// endpoints says how those of some clusters are doing, as this proxy sees them. Nothing of it is
// kept before viz asks.
func (p *Proxy) endpoints(clusters []string) *vizapi.EndpointsAnswer {
	now, m := time.Now(), &vizapi.EndpointsAnswer{}
	for _, c := range p.discovery.Clusters() {
		name, _ := api.SplitCluster(c.Name)
		set := c.Current()
		if set == nil || !slices.Contains(clusters, name) {
			continue
		}
		set.Each(now, func(e *api.Endpoint, s balance.Standing) {
			if len(m.Endpoints) == vizapi.MaxEndpoints {
				m.Omitted++
				return
			}
			m.Endpoints = append(m.Endpoints, standingOf(name, e, s))
		})
	}
	return m
}

func standingOf(cluster string, e *api.Endpoint, s balance.Standing) *vizapi.EndpointStanding {
	m := &vizapi.EndpointStanding{Cluster: cluster, Address: e.Address,
		InFlight: uint64(max(0, s.Pending)), Weight: max(1, e.Weight)}
	if w := e.Workload; w != nil {
		m.Workload = &vizapi.Workload{Namespace: w.Namespace, Kind: w.Kind, Name: w.Name,
			Pod: w.Pod}
	}
	if s.Measured {
		m.EwmaUs = uint64(max(1, s.Latency.Microseconds()))
	}
	var left time.Duration
	m.State, left = stateOf(s)
	m.UntilMs = uint64(left.Milliseconds())
	return m
}

// stateOf is whether an endpoint gets requests, and for how long it stays so if that is known.
func stateOf(s balance.Standing) (vizapi.Standing, time.Duration) {
	switch {
	case s.Ejected && s.Ejection > 0:
		return vizapi.Standing_STANDING_EJECTED, s.Ejection
	case s.Ejected:
		return vizapi.Standing_STANDING_PROBATION, 0
	case s.Rests > 0:
		return vizapi.Standing_STANDING_UNHEALTHY, s.Rests
	}
	return vizapi.Standing_STANDING_READY, 0
}
