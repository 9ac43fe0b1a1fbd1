package metric

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"weak"
)

// EjectionCause is why an endpoint is kept from requests.
type EjectionCause uint8

const (
	Consecutive  EjectionCause = iota // it failed so often in a row
	SuccessRate                       // too little of what it was asked succeeded
	Deviation                         // much less than at the others did
	ProbeFailure                      // it failed the one request that was to show it is back
	ejectionCauses
)

func (c EjectionCause) String() string {
	names := [ejectionCauses]string{"consecutive", "success_rate", "deviation", "probe"}
	if c >= ejectionCauses {
		return "unknown"
	}
	return names[c]
}

// Limit is a limit of what this proxy may ask of a cluster.
type Limit uint8

const (
	Connections Limit = iota
	Pending           // requests that wait for a connection or a stream
	Requests          // under way
	Retries           // of those, beyond their first try
	Limits
)

func (b Limit) String() string {
	names := [Limits]string{"connections", "pending", "requests", "retries"}
	if b >= Limits {
		return "unknown"
	}
	return names[b]
}

// Cluster counts what protects a cluster and its callers.
type Cluster struct {
	Endpoints atomic.Int64 // a gauge: all of them
	ejected   atomic.Pointer[[]Workload]
	ejections [ejectionCauses][2]atomic.Uint64
	overflows [Limits]atomic.Uint64
}

// Eject counts an ejection, or one that was only due: enforced false.
func (c *Cluster) Eject(why EjectionCause, enforced bool) {
	i := 0
	if enforced {
		i = 1
	}
	c.ejections[why][i].Add(1)
}

// SetEjected says whose endpoints get no requests for now: a workload for each of them, which may
// be an empty one. The list is the cluster's from then on.
func (c *Cluster) SetEjected(list []Workload) { c.ejected.Store(&list) }

// out are those that SetEjected has said.
func (c *Cluster) out() []Workload {
	if list := c.ejected.Load(); list != nil {
		return *list
	}
	return nil
}

// Overflow counts what was refused by a limit.
func (c *Cluster) Overflow(b Limit) { c.overflows[b].Add(1) }

// maxClusters bounds those that are counted; the others are one.
const maxClusters = MaxSeries

// clusters are those that somebody holds: the others are the garbage collector's.
type clusters struct {
	mu     sync.Mutex // guards what follows
	byName map[string]weak.Pointer[Cluster]
	other  *Cluster
}

// Cluster finds or makes the counts of a cluster. They last as long as somebody keeps the pointer.
func (r *Registry) Cluster(name string) *Cluster {
	s := &r.clusters
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.byName[name].Value(); c != nil {
		return c
	}
	s.pruneLocked()
	if len(s.byName) >= maxClusters {
		if s.other == nil {
			s.other = new(Cluster)
		}
		r.dropped.Add(1)
		return s.other
	}
	if s.byName == nil {
		s.byName = map[string]weak.Pointer[Cluster]{}
	}
	c := new(Cluster)
	s.byName[name] = weak.Make(c)
	return c
}

// Endpoints is how many endpoints the backend of outbound requests has, and how many of those that
// a series is about are ejected. Of a cluster that nothing protects it knows neither.
func (r *Registry) Endpoints(l Labels) (ejected, all int) {
	if l.Direction != Outbound || l.Backend == "" {
		return 0, 0
	}
	s := &r.clusters
	s.mu.Lock()
	c := s.byName[l.Backend].Value()
	s.mu.Unlock()
	if c == nil {
		return 0, 0
	}
	for _, w := range c.out() {
		if w == l.Peer {
			ejected++
		}
	}
	return ejected, int(c.Endpoints.Load())
}

// pruneLocked forgets the clusters that nobody holds any more.
func (s *clusters) pruneLocked() {
	for name, c := range s.byName {
		if c.Value() == nil {
			delete(s.byName, name)
		}
	}
}

// namedCluster is one as it is shown.
type namedCluster struct {
	name string
	*Cluster
}

// list is all clusters by name.
func (s *clusters) list() (all []namedCluster) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, p := range s.byName {
		if c := p.Value(); c != nil {
			all = append(all, namedCluster{name, c})
		}
	}
	slices.SortFunc(all, func(a, b namedCluster) int { return cmp.Compare(a.name, b.name) })
	if s.other != nil {
		all = append(all, namedCluster{Other, s.other})
	}
	return all
}

// appendClusters writes what is counted of each cluster. What has not happened is left out.
func (r *Registry) appendClusters(t *Text) {
	all := r.clusters.list()
	if len(all) == 0 {
		return
	}
	const ejected, ejections = "tulle_endpoints_ejected", "tulle_endpoint_ejections_total"
	t.Family(ejected, "Endpoints that get no requests for now, because they failed.", "gauge")
	for _, c := range all {
		t.Sample(ejected, LabelText("backend", c.name), float64(len(c.out())))
	}
	t.Family(ejections, "Endpoints that were ejected, or not enforced: were only to be.", "counter")
	for _, c := range all {
		c.appendEjections(t, ejections)
	}
	const overflows = "tulle_cluster_overflows_total"
	t.Family(overflows, "Requests, connections and retries beyond a cluster's limits.", "counter")
	for _, c := range all {
		for b := range Limits {
			if n := c.overflows[b].Load(); n > 0 {
				t.Sample(overflows, LabelText("backend", c.name, "limit", b.String()), float64(n))
			}
		}
	}
}

func (c *namedCluster) appendEjections(t *Text, name string) {
	for why := range ejectionCauses {
		for i, enforced := range []bool{false, true} {
			if n := c.ejections[why][i].Load(); n > 0 {
				t.Sample(name, LabelText("backend", c.name, "enforced",
					strconv.FormatBool(enforced), "reason", why.String()), float64(n))
			}
		}
	}
}
