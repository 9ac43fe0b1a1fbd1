package explain

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/outcome"
)

// backend goes the way of one backend's share.
func (e *explainer) backend(a *discover.Answer, b *api.Backend, by []Object) error {
	part := fmt.Sprintf("%.4g %% of it go", 100*e.share)
	if e.share == 1 {
		part = "it goes"
	}
	if b.Answer != 0 {
		why := outcome.Fixed(int(b.Answer))
		next := "the rule says so, or names what is not there: see the status of its object"
		if why == outcome.NoRoute {
			next = "add a rule for it, or ask for what one of the rules is for"
		}
		says := fmt.Sprintf("the route itself answers %d, and asks nobody", b.Answer)
		if e.share != 1 {
			says = fmt.Sprintf("%.4g %% of it get the route's own answer, %d", 100*e.share,
				b.Answer)
		}
		e.fail(Step{Stage: StageBackend, Says: says, By: by}, why, int(b.Answer), next)
		return nil
	}
	name, _ := api.SplitCluster(b.Cluster)
	if words := filterWords(b.GetFilters()); words != "" {
		part += " (after its filter " + words + ")"
	}
	member := a.Members[slices.Index(a.Clusters, b.Cluster)]
	set := member.Current()
	if set == nil || len(set.All) == 0 {
		e.noEndpoints(name)
		return nil
	}
	all := e.Told.endpoints(name)
	e.say(StageBackend, fmt.Sprintf("%s to %s, which has %s", part, name,
		counted(len(set.All), "endpoint")), by...)
	e.use(b.Cluster, name)
	return e.callees(all)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func (e *explainer) noEndpoints(cluster string) {
	var ill []string
	for _, h := range e.Told.Health {
		if h.Cluster == cluster && h.Reason != "" {
			ill = append(ill, h.ID+": "+h.Reason)
		}
	}
	says := "no endpoint of " + cluster + " is ready"
	if len(ill) > 0 {
		says += " (" + strings.Join(ill, "; ") + ")"
	}
	e.fail(Step{Stage: StageBackend, Says: says}, outcome.NoEndpoints, 503,
		"see whether its pods run and are ready, and whether the Service's selector finds them: "+
			"kubectl get endpointslices -A")
}

// use says how the endpoints behind a cluster are used.
func (e *explainer) use(resource, name string) {
	c := e.Told.cluster(resource)
	backend := name
	if name == e.route.GetAuthority() {
		backend = ""
	}
	by := func(field string) []Object {
		return e.Told.users(crd.BackendTrafficPolicyKind, field, backend)
	}
	e.say(StageBalancer, balancerWords(c), by(policy.FieldBalancer)...)
	if p := c.GetLocalityPreference(); p != nil {
		near := strings.ToLower(strings.TrimPrefix(p.GetPrefer().String(), "NEARNESS_"))
		e.say(StageBalancer, "the nearest endpoints first, by "+near, by(policy.FieldLocality)...)
	}
	if s := c.GetSlowStart(); s != nil {
		e.say(StageBalancer, fmt.Sprintf("a new endpoint gets its share little by little, over %s",
			millis(s.GetWindowMs())), by(policy.FieldSlowStart)...)
	}
	if o := c.GetOutlierDetection(); o != nil {
		says := "endpoints that fail are ejected for a while"
		if o.GetDryRun() {
			says = "endpoints that fail would be ejected, were it no dry run"
		}
		e.say(StageBalancer, says, by(policy.FieldOutliers)...)
	}
	if l := c.GetLimits(); l != nil {
		e.say(StageLimits, "each caller's proxy has at most "+limitWords(l),
			by(policy.FieldLimits)...)
	}
}

func balancerWords(c *api.Cluster) string {
	switch b := c.GetBalancer().(type) {
	case *api.Cluster_LeastRequest:
		return "of some endpoints at random, the one with the fewest requests under way"
	case *api.Cluster_RoundRobin:
		return "the endpoints in turn"
	case *api.Cluster_Random:
		return "an endpoint at random"
	case *api.Cluster_ConsistentHash:
		var keys []string
		for _, k := range b.ConsistentHash.GetKeys() {
			keys = append(keys, hashKeyWords(k))
		}
		return "the endpoint that the request's key falls to: " + strings.Join(keys, ", else ")
	}
	return "of two endpoints at random, the one that answers faster (EWMA)"
}

func hashKeyWords(k *api.HashKey) string {
	switch k := k.GetKey().(type) {
	case *api.HashKey_Header:
		return "header " + k.Header
	case *api.HashKey_Cookie:
		return "cookie " + k.Cookie.GetName()
	case *api.HashKey_Query:
		return "query parameter " + k.Query
	}
	return "the caller's address"
}

func limitWords(l *api.ClusterLimits) string {
	var all []string
	for _, x := range []struct {
		n    uint32
		what string
	}{{l.GetMaxConnections(), "connections"}, {l.GetMaxPending(), "requests that wait"},
		{l.GetMaxRequests(), "requests under way"}, {l.GetMaxRetries(), "retries under way"}} {
		if x.n > 0 {
			all = append(all, fmt.Sprintf("%d %s", x.n, x.what))
		}
	}
	return strings.Join(all, ", ")
}

// maxCallees bounds how many different workloads behind a backend are asked about.
const maxCallees = 8

// callees goes on with the endpoints: one of each workload stands for those that are alike.
func (e *explainer) callees(all []*api.Endpoint) error {
	alike := map[string][]*api.Endpoint{}
	for _, ep := range all {
		w := ep.GetWorkload()
		key := fmt.Sprint(w.GetNamespace(), "/", w.GetKind(), "/", w.GetName(), "/",
			ep.GetTargetPort(), "/", ep.GetIdentity(), "/", ep.GetMeshAddress() != "")
		alike[key] = append(alike[key], ep)
	}
	keys := slices.Sorted(maps.Keys(alike))
	share, before := e.share, []Step(nil)
	for _, key := range keys[:min(len(keys), maxCallees)] {
		e.share = share * float64(len(alike[key])) / float64(len(all))
		begin := len(e.path.Steps)
		if err := e.callee(alike[key]); err != nil {
			return err
		}
		if now := e.path.Steps[begin:]; !merge(before, now) {
			before = now
		} else {
			e.path.Steps = e.path.Steps[:begin]
		}
	}
	e.share = share
	return nil
}

// merge reports whether the steps to a callee say the same as those to the one before, whose shares
// then have the later ones' added.
func merge(before, now []Step) bool {
	if !slices.EqualFunc(before, now, func(a, b Step) bool {
		return a.Stage == b.Stage && a.Says == b.Says && (a.Fails == nil) == (b.Fails == nil)
	}) {
		return false
	}
	for i := range before {
		if before[i].Fails != nil {
			before[i].Fails.Share += now[i].Fails.Share
		}
	}
	return true
}

// secured says how the endpoints are reached.
func (e *explainer) secured(like []*api.Endpoint) {
	first := like[0]
	who := workloadText(first)
	pod := Object{Kind: "Pod", Namespace: first.GetWorkload().GetNamespace(),
		Name: first.GetWorkload().GetPod(), Field: "spec.serviceAccountName"}
	switch {
	case first.GetMeshAddress() == "":
		e.say(StageSecurity, "plaintext: "+who+" has no proxy")
	case !e.from.Meshed:
		e.say(StageSecurity, "plaintext: the caller has no proxy")
	default:
		e.say(StageSecurity, fmt.Sprintf("mutual TLS 1.3: the caller proves %s, and %s must prove "+
			"%s", e.from.Identity, who, first.GetIdentity()), pod)
	}
}

func workloadText(ep *api.Endpoint) string {
	w := ep.GetWorkload()
	if w.GetName() == "" {
		return ep.GetAddress()
	}
	return w.GetKind() + "/" + w.GetName()
}

// chosen reports whether a caller's proxy dials the endpoint's proxy and names the port, instead of
// dialing the port.
func chosen(ep *api.Endpoint) bool {
	_, port, err := net.SplitHostPort(ep.GetMeshAddress())
	return err == nil && port != strconv.Itoa(int(ep.GetTargetPort()))
}
