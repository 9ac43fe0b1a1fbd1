package policy

import (
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// Traffic is what one object says about the use of what is behind services.
type Traffic struct {
	Origin  Origin
	Created time.Time // of the object
	Scopes  []Scope
	Cluster *api.Cluster // what it says of a balancer, a slow start, places, limits and ejections
	Check   *api.HealthCheck
	Budget  *Budget // nil: the object says none
	Timing  *Timing
	Hedge   *api.Hedge
	Subset  uint32 // of how many endpoints; 0: the object says nothing of it
	// Concurrency is of the services' pods; nil: the object says nothing of it.
	Concurrency *api.Concurrency
}

// Timing is how long requests may take that nothing else is said of.
type Timing struct{ Request, Try time.Duration }

// Scope is a port of a service by what it is called, or all ports of a service, or those of all
// services of a namespace.
type Scope struct{ Namespace, Service, Port string }

// FromBackendTrafficPolicy reads a valid policy, which has its defaults.
func FromBackendTrafficPolicy(p *crd.BackendTrafficPolicy, created time.Time) Traffic {
	out := Traffic{
		Origin:  Origin{crd.Group, crd.BackendTrafficPolicyKind, p.Namespace, p.Name},
		Created: created,
		Cluster: &api.Cluster{
			SlowStart:          slowStart(p.Spec.SlowStart),
			Limits:             limits(p.Spec.CircuitBreaker),
			OutlierDetection:   outlierDetection(p.Spec.OutlierDetection),
			LocalityPreference: preference(p.Spec.Locality),
		},
		Check: healthCheck(p.Spec.HealthCheck), Hedge: hedge(p.Spec.Hedge),
	}
	if t := p.Spec.Timeouts; t != nil {
		out.Timing = &Timing{duration(t.Request), duration(t.PerTry)}
	}
	out.Concurrency = concurrency(p.Spec.AdaptiveConcurrency)
	setBalancer(out.Cluster, p.Spec.LoadBalancer)
	for i := range p.Spec.TargetRefs {
		out.Scopes = append(out.Scopes, ScopeOf(&p.Spec.TargetRefs[i], p.Namespace))
	}
	if p.Spec.Subset != nil {
		out.Subset = p.Spec.Subset.Size
	}
	if p.Spec.RetryBudget != nil {
		budget := budgetOf(*p.Spec.RetryBudget)
		out.Budget = &budget
	}
	return out
}

// ScopeOf is what a target of a policy in a namespace means.
func ScopeOf(ref *crd.TrafficTarget, policyNamespace string) Scope {
	namespace, service := ref.Service(policyNamespace)
	return Scope{namespace, service, ref.SectionName}
}

func setBalancer(to *api.Cluster, lb *crd.LoadBalancer) {
	if lb == nil {
		return
	}
	switch lb.Type {
	case crd.BalancerEWMA:
		to.Balancer = &api.Cluster_Ewma{Ewma: &api.EWMA{}}
	case crd.BalancerLeastRequest:
		least := &api.LeastRequest{}
		if lb.LeastRequest != nil {
			least.Choices = number(lb.LeastRequest.Choices)
		}
		to.Balancer = &api.Cluster_LeastRequest{LeastRequest: least}
	case crd.BalancerRoundRobin:
		to.Balancer = &api.Cluster_RoundRobin{RoundRobin: &api.RoundRobin{}}
	case crd.BalancerRandom:
		to.Balancer = &api.Cluster_Random{Random: &api.Random{}}
	case crd.BalancerConsistentHash:
		to.Balancer = &api.Cluster_ConsistentHash{ConsistentHash: hash(lb.ConsistentHash)}
	}
}

func hash(h *crd.ConsistentHash) *api.ConsistentHash {
	out := &api.ConsistentHash{BoundedLoadPercent: number(h.BoundedLoadPercent)}
	for i := range h.Keys {
		out.Keys = append(out.Keys, hashKey(&h.Keys[i]))
	}
	if h.Ring != nil {
		out.Table = &api.ConsistentHash_Ring{Ring: &api.Ring{
			MinSize: uint64(number(h.Ring.MinSize)), MaxSize: uint64(number(h.Ring.MaxSize)),
		}}
		return out
	}
	table := &api.Maglev{}
	if h.Maglev != nil {
		table.TableSize = uint64(number(h.Maglev.TableSize))
	}
	out.Table = &api.ConsistentHash_Maglev{Maglev: table}
	return out
}

func hashKey(k *crd.HashKey) *api.HashKey {
	switch {
	case k.Header != "":
		return &api.HashKey{Key: &api.HashKey_Header{Header: strings.ToLower(k.Header)}}
	case k.Query != "":
		return &api.HashKey{Key: &api.HashKey_Query{Query: k.Query}}
	case k.Cookie != nil:
		return &api.HashKey{Key: &api.HashKey_Cookie{Cookie: &api.Cookie{
			Name: k.Cookie.Name, Path: k.Cookie.Path, TtlMs: milliseconds(duration(k.Cookie.TTL)),
		}}}
	}
	return &api.HashKey{Key: &api.HashKey_Source{Source: &api.Source{}}}
}

func slowStart(s *crd.SlowStart) *api.SlowStart {
	if s == nil {
		return nil
	}
	out := &api.SlowStart{
		WindowMs: milliseconds(duration(s.Window)), MinWeightPercent: number(s.MinWeightPercent),
	}
	if s.Aggression != nil {
		out.Aggression = *s.Aggression
	}
	return out
}

func limits(c *crd.CircuitBreaker) *api.ClusterLimits {
	if c == nil {
		return nil
	}
	return &api.ClusterLimits{
		MaxConnections: number(c.MaxConnections), MaxPending: number(c.MaxPendingRequests),
		MaxRequests: number(c.MaxRequests), MaxRetries: number(c.MaxRetries),
	}
}

func concurrency(a *crd.AdaptiveConcurrency) *api.Concurrency {
	if a == nil {
		return nil
	}
	return &api.Concurrency{
		Percentile: number(a.Percentile), WindowMs: milliseconds(duration(a.Window)),
		MinRequests: number(a.MinRequests), MaxRequests: number(a.MaxRequests),
		BufferPercent:    number(a.BufferPercent),
		BaselineMs:       milliseconds(duration(a.BaselineInterval)),
		BaselineRequests: number(a.BaselineRequests),
	}
}

func outlierDetection(o *crd.OutlierDetection) *api.OutlierDetection {
	if o == nil {
		return nil
	}
	out := &api.OutlierDetection{
		ConsecutiveFailures: number(o.ConsecutiveFailures),
		BaseEjectionMs:      milliseconds(duration(o.BaseEjectionTime)),
		MaxEjectionMs:       milliseconds(duration(o.MaxEjectionTime)),
		MaxEjectedPercent:   number(o.MaxEjectedPercent), DryRun: o.DryRun,
	}
	if s := o.SuccessRate; s != nil {
		out.SuccessRate = &api.SuccessRate{
			ThresholdPercent: s.ThresholdPercent, WindowMs: milliseconds(duration(s.Window)),
			MinRequests: number(s.MinRequests),
		}
	}
	if d := o.Deviation; d != nil {
		out.Deviation = &api.Deviation{
			IntervalMs:   milliseconds(duration(d.Interval)),
			MinEndpoints: number(d.MinEndpoints), MinRequests: number(d.MinRequests),
		}
		if d.Factor != nil {
			out.Deviation.Factor = *d.Factor
		}
	}
	return out
}

// nearness is what a preference is called in a message. None has no name: nothing is sent of it.
var nearness = map[string]api.Nearness{
	crd.PreferNode: api.Nearness_NEARNESS_NODE, crd.PreferZone: api.Nearness_NEARNESS_ZONE,
	crd.PreferRegion: api.Nearness_NEARNESS_REGION,
}

func preference(l *crd.Locality) *api.LocalityPreference {
	if l == nil {
		return nil
	}
	out := &api.LocalityPreference{
		Prefer: nearness[l.Prefer], ByHealth: l.Spillover == crd.SpilloverHealth,
	}
	for _, to := range l.Failover {
		out.Failover = append(out.Failover, &api.Locality{Region: to.Region, Zone: to.Zone})
	}
	return out
}

// number is 0 where there is none, which a message takes for none.
func number(n *uint32) uint32 {
	if n == nil {
		return 0
	}
	return *n
}
