package destination

import (
	"cmp"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// Diagnosis is what a proxy would be told about a key, resource by resource, in protobuf's JSON,
// and what has made it so.
type Diagnosis struct {
	Invalid   string            `json:"invalid,omitempty"`
	Sources   []registry.Part   `json:"sources,omitempty"` // of the service that the key leads to
	Policies  []policy.Verdict  `json:"policies,omitempty"`
	Resources []json.RawMessage `json:"resources,omitempty"` // of type api.Resource
	Health    []EndpointHealth  `json:"health,omitempty"`
}

// EndpointHealth is what its proxy has found of an endpoint's application. One that is unhealthy is
// not among the endpoints, unless all of its service's are.
type EndpointHealth struct {
	Cluster string `json:"cluster"`
	ID      string `json:"id"`
	State   string `json:"state"` // "healthy" or "unhealthy"
	Reason  string `json:"reason,omitempty"`
}

// Diagnostics answers over HTTP what a proxy would be told:
//
//	GET /resources?authority=web.shop.svc.cluster.local:80&namespace=shop&pod=web-1
//
// Instead of authority it takes address=10.96.0.10:80 or inboundPort=8080. Namespace and pod say
// who asks; without them it is nobody in the namespace "default".
//
// It has no authentication: it belongs on a loopback address.
func (d *Destination) Diagnostics() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /resources", func(w http.ResponseWriter, r *http.Request) {
		key, ok := keyOf(r)
		switch {
		case !isLoopback(r.Host):
			http.Error(w, "ask by a loopback address", http.StatusForbidden)
		case !ok:
			http.Error(w, "name one of authority, address, inboundPort", http.StatusBadRequest)
		case d.Ready() != nil:
			http.Error(w, d.Ready().Error(), http.StatusServiceUnavailable)
		default:
			who := types.NamespacedName{Namespace: cmp.Or(r.FormValue("namespace"), "default"),
				Name: r.FormValue("pod")}
			w.Header().Set("Content-Type", "application/json")
			if err := json.NewEncoder(w).Encode(d.diagnose(key, who)); err != nil {
				d.cfg.Log.Debug("answer a query", "error", err)
			}
		}
	})
	return mux
}

// isLoopback keeps a page in somebody's browser from reading the answers through a name that it
// controls (DNS rebinding).
func isLoopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

func keyOf(r *http.Request) (*api.Key, bool) {
	if authority := r.FormValue("authority"); authority != "" {
		return &api.Key{Key: &api.Key_Authority{Authority: authority}}, true
	}
	if address := r.FormValue("address"); address != "" {
		return &api.Key{Key: &api.Key_Address{Address: address}}, true
	}
	port, err := strconv.ParseUint(r.FormValue("inboundPort"), 10, 16)
	return &api.Key{Key: &api.Key_InboundPort{InboundPort: uint32(port)}}, err == nil
}

// diagnose computes what a stream would be sent, and leaves no cell behind.
func (d *Destination) diagnose(key *api.Key, who types.NamespacedName) Diagnosis {
	answers, out := d.answers(key, who)
	for _, a := range answers {
		for _, r := range a.seal().resources {
			text, err := protojson.Marshal(r.snapshot)
			if err != nil {
				return Diagnosis{Invalid: err.Error()}
			}
			out.Resources = append(out.Resources, text)
		}
	}
	return out
}

// answers are a key's, and those of what it refers to, with what has made them so.
func (d *Destination) answers(
	key *api.Key, who types.NamespacedName,
) (out []*answer, why Diagnosis) {
	c := caller{namespace: who.Namespace, pod: who.Name}
	d.cfg.Mesh.read(d.registry, func(v *view) {
		if w := v.Workload(who); w != nil {
			c.runsAs(v, w)
		}
		first := v.compute(c.question(key))
		why = Diagnosis{Invalid: first.invalid, Sources: v.parts(key, who.Namespace),
			Policies: append(v.explain(key, who.Namespace),
				v.explainBackends(key, first.refs, who.Namespace)...)}
		out = append(out, first)
		for i, ref := range first.refs {
			if slices.Contains(first.refs[:i], ref) {
				continue
			}
			for _, q := range ref.questions(c) {
				a := v.compute(q)
				a.resources, a.subsets = c.resourcesOf(a), nil
				out = append(out, a)
			}
			why.Health = append(why.Health, v.healthOf(ref)...)
		}
	})
	return out, why
}

// healthOf lists what was found of the pods behind a service's port.
func (v *view) healthOf(ref clusterRef) (out []EndpointHealth) {
	svc := v.Service(ref.service)
	if ref.addr.IsValid() || svc == nil || svc.Port(ref.port) == nil {
		return nil
	}
	for _, slice := range v.Slices(ref.service) {
		number, _ := slice.Port(svc.Port(ref.port).Name)
		for i := range slice.Endpoints {
			ep := &slice.Endpoints[i]
			w, is := v.memberBehind(ref, ep, false)
			if !is || w == nil {
				continue
			}
			if found := v.Health(w).Port(number); found != nil {
				out = append(out, EndpointHealth{
					Cluster: v.mesh.clusterName(ref), State: found.State(), Reason: found.Reason,
					ID: v.memberAt(ep, w, number).Id,
				})
			}
		}
	}
	return out
}

// parts are what each source has of the service that a key leads to.
func (v *view) parts(key *api.Key, namespace string) []registry.Part {
	t, err := v.resolve(key, namespace)
	if err != nil || t.service == nil {
		return nil
	}
	return v.Parts(t.service.Key())
}
