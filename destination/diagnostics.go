package destination

import (
	"cmp"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/serve"
)

// Diagnosis is what a proxy would be told about a key, resource by resource, in protobuf's JSON,
// and what has made it so.
type Diagnosis struct {
	Invalid   string            `json:"invalid,omitempty"`
	Asker     *Asker            `json:"asker,omitempty"`
	Decisions []Decision        `json:"decisions,omitempty"`
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
// who asks, or instead of a pod workload=deployment/web, of which it is the first pod, or
// account=web; without them it is nobody in the namespace "default".
//
// It has no authentication: it belongs on a loopback address.
func (d *Destination) Diagnostics() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+serve.StacksPath, func(w http.ResponseWriter, r *http.Request) {
		if !isLoopback(r.Host) {
			http.Error(w, "ask by a loopback address", http.StatusForbidden)
			return
		}
		serve.Stacks(w, r)
	})
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
			told, err := d.diagnose(key, whoseOf(r))
			if err != nil {
				http.Error(w, err.Error(), http.StatusNotFound)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			if err := json.NewEncoder(w).Encode(told); err != nil {
				d.cfg.Log.Debug("answer a query", "error", err)
			}
		}
	})
	return mux
}

func whoseOf(r *http.Request) whose {
	who := whose{namespace: cmp.Or(r.FormValue("namespace"), "default"), pod: r.FormValue("pod"),
		account: r.FormValue("account")}
	who.kind, who.workload, _ = strings.Cut(r.FormValue("workload"), "/")
	return who
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

// diagnose computes what a stream would be sent, and leaves no cell behind. An error is that there
// is no such caller.
func (d *Destination) diagnose(key *api.Key, who whose) (Diagnosis, error) {
	answers, out, err := d.answers(key, who)
	if err != nil {
		return Diagnosis{}, err
	}
	for _, a := range answers {
		for _, r := range a.seal().resources {
			text, err := protojson.Marshal(r.snapshot)
			if err != nil {
				return Diagnosis{Invalid: err.Error()}, nil
			}
			out.Resources = append(out.Resources, text)
		}
	}
	return out, nil
}

// answers are a key's, and those of what it refers to, with what has made them so.
func (d *Destination) answers(
	key *api.Key, who whose,
) (out []*answer, why Diagnosis, err error) {
	d.cfg.Mesh.read(d.registry, func(v *view) {
		var c caller
		if c, why.Asker, err = v.asker(who); err != nil {
			return
		}
		first := v.compute(c.question(key))
		why.Invalid, why.Sources = first.invalid, v.parts(key, who.namespace)
		why.Decisions = v.decisions(key, c)
		why.Policies = append(v.explain(key, who.namespace),
			v.explainBackends(key, first.refs, who.namespace)...)
		if port := key.GetInboundPort(); port != 0 {
			pod := registry.Name{Namespace: c.namespace, Name: c.pod}
			why.Policies = v.explainInbound(pod, port)
		}
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
	return out, why, err
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
