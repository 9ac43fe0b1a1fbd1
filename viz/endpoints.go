package viz

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/viz/api"
)

// Bounds of a question about endpoints, beside api.MaxEndpoints of one proxy.
const (
	// maxAskedProxies is how many proxies one question is put to.
	maxAskedProxies = 50
	// endpointsWait is how long they have to answer.
	endpointsWait = 2 * time.Second
)

// Endpoints is the answer to /api/endpoints: how the endpoints of something are doing, as the
// proxies that call it see them.
type Endpoints struct {
	Rows []EndpointRow `json:"rows"`
	// Silent are proxies, "NAMESPACE/POD", that call it and have not answered in time.
	Silent []string `json:"silent"`
	Asked  int      `json:"asked"` // proxies
	// OmittedProxies call it, too, and were not asked: there are too many. OmittedEndpoints is how
	// many endpoints were left off the answers of those that were.
	OmittedProxies   int `json:"omittedProxies"`
	OmittedEndpoints int `json:"omittedEndpoints"`
}

// EndpointRow is how an endpoint is doing with one proxy.
type EndpointRow struct {
	Proxy string `json:"proxy"` // "NAMESPACE/POD"
	// Service is what the proxy balances over, "NAMESPACE/NAME:PORT": where a route sends requests
	// elsewhere than to the Service that was called, it is that.
	Service  string `json:"service"`
	Address  string `json:"address"`
	Pod      string `json:"pod"`
	Workload string `json:"workload,omitempty"` // "deployment/web"
	// EWMAMs is the latency that the balancer expects; null: it has measured none yet.
	EWMAMs   *float64 `json:"ewmaMs"`
	InFlight uint64   `json:"inFlight"`
	Weight   uint32   `json:"weight"`
	// State is ready, ejected, probation (the next request decides), or unhealthy: it could not be
	// dialed, or has asked for time. All but the first get no requests while another is ready.
	State string     `json:"state"`
	Until *time.Time `json:"until,omitempty"` // how long it stays so, where that is known
}

// endpointStates are the words of the query API.
var endpointStates = map[api.Standing]string{
	api.Standing_STANDING_READY:     "ready",
	api.Standing_STANDING_EJECTED:   "ejected",
	api.Standing_STANDING_PROBATION: "probation",
	api.Standing_STANDING_UNHEALTHY: "unhealthy",
}

// parseEndpoints reads whose endpoints are asked for.
func parseEndpoints(p url.Values) (resource, error) {
	namespace := p.Get(paramNamespace)
	if isSet(p.Get(paramAll)) {
		namespace = ""
	}
	what, err := parseResource(p.Get(paramResource), namespace)
	switch {
	case err != nil:
		return what, err
	case what.name == "", what.kind == "namespace", what.kind == "serviceaccount",
		what.kind == "address":
		return what, fmt.Errorf("%w: resource %q has no endpoints: name a service, a workload or "+
			"a pod, for example svc/web", errQuery, p.Get(paramResource))
	}
	return what, nil
}

// endpoints answers /api/endpoints. It asks the proxies that have called the resource: they alone
// know, and tell nobody before.
func (v *Server) endpoints(now time.Time, what resource) (*Endpoints, error) {
	out := &Endpoints{Rows: []EndpointRow{}, Silent: []string{}}
	callers := v.store.callersOf(now, what)
	out.OmittedProxies = callers.cut(maxAskedProxies)
	out.Asked = len(callers)
	s, err := v.hub.ask(callers)
	if err != nil {
		return nil, err
	}
	defer v.hub.over(s)
	for _, a := range s.wait(endpointsWait) {
		delete(callers, a.who)
		out.take(a, what)
	}
	for who := range callers {
		out.Silent = append(out.Silent, who.title())
	}
	slices.Sort(out.Silent)
	slices.SortFunc(out.Rows, compareEndpoints)
	return out, nil
}

// callers are proxies, each with the clusters that lead it to what is asked for.
type callers map[reporter][]string

// callersOf finds the live proxies that call a resource.
func (s *store) callersOf(now time.Time, what resource) callers {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make(callers)
	for _, one := range s.parts.all {
		if one == nil || one.labels.backend == "" || !one.labels.outbound() ||
			!one.to(what) || !one.process.live(now) {
			continue
		}
		who := one.process.key.reporter
		if some := out[who]; len(some) < api.MaxClusters &&
			!slices.Contains(some, one.labels.backend) {
			out[who] = append(some, one.labels.backend)
		}
	}
	return out
}

// cut leaves the first so many by name, and says how many it has left out.
func (c callers) cut(most int) (omitted int) {
	all := slices.SortedFunc(maps.Keys(c), func(a, b reporter) int {
		return cmp.Or(cmp.Compare(a.title(), b.title()), cmp.Compare(a.id, b.id))
	})
	for _, who := range all[min(len(all), most):] {
		delete(c, who)
		omitted++
	}
	return omitted
}

func (r *reporter) title() string { return r.namespace + "/" + r.pod }

// take adds a proxy's answer.
func (e *Endpoints) take(a endpointsAnswer, what resource) {
	e.OmittedEndpoints += int(a.Omitted)
	for _, m := range a.Endpoints {
		w := workloadOf(m.Workload)
		if k, ok := w.of(what.kind); what.kind != "service" && (!ok || !what.has(k)) {
			continue
		}
		row := EndpointRow{Proxy: a.who.title(), Service: clusterService(printable(m.Cluster)),
			Address: printable(m.Address), Pod: w.pod, InFlight: m.InFlight, Weight: m.Weight,
			State: endpointStates[m.State]}
		if w.name != "" {
			row.Workload = w.kind + "/" + w.name
		}
		if m.EwmaUs > 0 {
			ms := float64(m.EwmaUs) / 1000
			row.EWMAMs = &ms
		}
		if m.UntilMs > 0 {
			until := a.at.Add(time.Duration(m.UntilMs) * time.Millisecond).UTC()
			until = until.Truncate(time.Millisecond)
			row.Until = &until
		}
		e.Rows = append(e.Rows, row)
	}
}

// clusterService is "shop/web:80" for "web.shop.svc.cluster.local:80". What is no Service's is left
// as it is.
func clusterService(cluster string) string {
	host, port, _ := strings.Cut(cluster, ":")
	parts := strings.Split(host, ".")
	at := slices.Index(parts, "svc")
	if at < 2 {
		return cluster
	}
	return parts[at-1] + "/" + strings.Join(parts[:at-1], ".") + ":" + port
}

func compareEndpoints(a, b EndpointRow) int {
	return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Pod, b.Pod),
		cmp.Compare(a.Address, b.Address), cmp.Compare(a.Proxy, b.Proxy))
}
