package policy

import (
	"slices"

	"github.com/tulle-mesh/tulle/destination/api"
)

// Use is how callers in one namespace use what is behind one service's port. A nil one says
// nothing: the proxies' defaults count.
type Use struct {
	Consumers bool     // the policies are of the callers' own namespace, which is not the service's
	Origins   []Origin // of what is said of the cluster
	Budgeter  Origin   // whose the budget is
	Checker   Origin   // whose the health check is

	// Check is how the pods are asked whether they are well; nil where nobody says so.
	Check *api.HealthCheck

	// Concurrency is what the service's pods bound; nil: nothing is said of it.
	Concurrency *api.Concurrency
	Bounder     Origin // whose it is

	Timer  Origin // whose timeouts there are
	Hedger Origin // whose hedge there is

	cluster *api.Cluster
	budget  *Budget
	timing  *Timing
	hedge   *api.Hedge
	subset  uint32
}

// UseOf returns what counts of several policies for callers in a namespace of a service's port, or
// nil where nothing does.
//
// Policies of the callers' own namespace (a consumer's) beat those of the service's (the
// producer's), and replace them as a whole. Among the policies of one namespace, a port's beats a
// Service's, and that the Namespace's, section by section: what one does not say the next one says.
// Of several that are about the same, the oldest counts (see Holder).
func UseOf(all []Traffic, port Scope, callerNamespace string) *Use {
	held := holders(all, port, callerNamespace)
	if len(held) == 0 {
		return nil
	}
	out := &Use{Consumers: held[0].Origin.Namespace != port.Namespace, cluster: &api.Cluster{}}
	for _, t := range held {
		out.add(t.Traffic)
	}
	return out
}

// holder is a policy that counts for a port, and the scope for which it does.
type holder struct {
	*Traffic
	scope Scope
}

// holders are those that count, what is more about the port first.
func holders(all []Traffic, port Scope, callerNamespace string) (held []holder) {
	for _, namespace := range []string{callerNamespace, port.Namespace} {
		for _, scope := range port.wider() {
			if t := Holder(all, scope, namespace); t != nil {
				held = append(held, holder{t, scope})
			}
		}
		if len(held) > 0 {
			return held
		}
	}
	return nil
}

// wider are the scopes that a port is in, the port's own first.
func (s Scope) wider() []Scope {
	return []Scope{s, {s.Namespace, s.Service, ""}, {s.Namespace, "", ""}}
}

// Holder returns which of the policies of a namespace is the one about a scope, or nil: the oldest,
// and of equally old ones the first by name (the Gateway API's rules on conflicts, GEP-713).
func Holder(all []Traffic, scope Scope, namespace string) (first *Traffic) {
	for i := range all {
		t := &all[i]
		if t.Origin.Namespace == namespace && slices.Contains(t.Scopes, scope) &&
			(first == nil || t.before(first)) {
			first = t
		}
	}
	return first
}

func (t *Traffic) before(other *Traffic) bool {
	if c := t.Created.Compare(other.Created); c != 0 {
		return c < 0
	}
	return t.Origin.path() < other.Origin.path()
}

// add takes from a policy what those before it do not say.
func (u *Use) add(t *Traffic) {
	says := false
	if u.cluster.Balancer == nil && t.Cluster.Balancer != nil {
		u.cluster.Balancer, says = t.Cluster.Balancer, true
	}
	if u.cluster.SlowStart == nil && t.Cluster.SlowStart != nil {
		u.cluster.SlowStart, says = t.Cluster.SlowStart, true
	}
	if u.cluster.Limits == nil && t.Cluster.Limits != nil {
		u.cluster.Limits, says = t.Cluster.Limits, true
	}
	if u.cluster.OutlierDetection == nil && t.Cluster.OutlierDetection != nil {
		u.cluster.OutlierDetection, says = t.Cluster.OutlierDetection, true
	}
	if u.cluster.LocalityPreference == nil && t.Cluster.LocalityPreference != nil {
		u.cluster.LocalityPreference, says = t.Cluster.LocalityPreference, true
	}
	if u.subset == 0 && t.Subset != 0 {
		u.subset, says = t.Subset, true
	}
	if says {
		u.Origins = append(u.Origins, t.Origin)
	}
	if u.Check == nil && t.Check != nil {
		u.Check, u.Checker = t.Check, t.Origin
	}
	if u.budget == nil && t.Budget != nil {
		u.budget, u.Budgeter = t.Budget, t.Origin
	}
	if u.timing == nil && t.Timing != nil {
		u.timing, u.Timer = t.Timing, t.Origin
	}
	if u.hedge == nil && t.Hedge != nil {
		u.hedge, u.Hedger = t.Hedge, t.Origin
	}
	if u.Concurrency == nil && t.Concurrency != nil {
		u.Concurrency, u.Bounder = t.Concurrency, t.Origin
	}
}

// Set says in a message how a cluster is used.
func (u *Use) Set(c *api.Cluster) {
	c.Balancer = &api.Cluster_Ewma{Ewma: &api.EWMA{}}
	if u == nil {
		return
	}
	if u.cluster.Balancer != nil {
		c.Balancer = u.cluster.Balancer
	}
	c.SlowStart, c.Limits = u.cluster.SlowStart, u.cluster.Limits
	c.OutlierDetection = u.cluster.OutlierDetection
	if p := u.cluster.LocalityPreference; p.GetPrefer() != api.Nearness_NEARNESS_UNSPECIFIED {
		c.LocalityPreference = p // else one that says None
	}
}

// Subset is of about how many endpoints each caller is told; 0: of all.
func (u *Use) Subset() int {
	if u == nil {
		return 0
	}
	return int(u.subset)
}

// RetryBudget makes the budget of a service's retries, or nil where nothing is said of it.
func (u *Use) RetryBudget() *api.RetryBudget {
	if u == nil || u.budget == nil {
		return nil
	}
	return u.budget.message()
}
