package explain

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/route"
)

// Question is what is to be explained.
type Question struct {
	Key     *api.Key
	Request Request
	Told    *Told // what the caller's proxy is told about the key
	// Inbound fetches what a pod's own proxy is told about one of its ports.
	Inbound func(pod registry.Name, port uint32) (*Told, error)
	Now     time.Time
}

// explainer goes the way of one request.
type explainer struct {
	Question
	path  *Path
	from  *destination.Asker
	route *api.Route
	head  []hpack.HeaderField
	share float64 // of the requests that are on the way that is being looked at
}

// Explain goes the way of a request. An error is that somebody could not be asked.
func Explain(q Question) (*Path, error) {
	e := &explainer{Question: q, from: q.Told.Asker, route: q.Told.route(), share: 1}
	if e.from == nil {
		e.from = &destination.Asker{}
	}
	e.head = e.Request.head()
	e.path = &Path{From: *e.from, To: keyText(q.Key), Request: q.Request, Steps: []Step{}}
	m := newModel()
	t := m.Target(q.Key)
	m.hear(q.Told, q.Key)
	if !e.discovered(m, t.Now()) {
		return e.path, nil
	}
	if !e.from.Meshed {
		return e.path, e.past()
	}
	return e.path, e.through(t.Now())
}

func keyText(key *api.Key) string {
	if a := key.GetAuthority(); a != "" {
		return a
	}
	return key.GetAddress()
}

func (e *explainer) say(stage, says string, by ...Object) {
	e.path.Steps = append(e.path.Steps, Step{Stage: stage, Says: says, By: by})
}

// fail says where the requests that are looked at end.
func (e *explainer) fail(s Step, why outcome.Reason, status int, next string) {
	s.Fails = &Failure{Reason: why.String(), Status: status, Share: e.share, Next: next}
	e.path.Steps = append(e.path.Steps, s)
}

// discovered says what the name or address leads to, and whether it leads anywhere.
func (e *explainer) discovered(m *model, a *discover.Answer) bool {
	s := Step{Stage: StageDiscovery, By: e.Told.decided(destination.AboutTarget)}
	switch {
	case len(m.refused.all) > 0:
		s.Says = "its proxy cannot use what destination says, and keeps what it had before: " +
			m.refused.all[0]
		e.fail(s, outcome.NoRoute, 503, "look at the status of the objects about it: 'meshctl "+
			"diagnostics profile "+e.path.To+"' names them")
		return false
	case e.Told.Invalid != "":
		s.Says = "destination does not take it for an address or a name: " + e.Told.Invalid
		e.fail(s, outcome.NoRoute, 503, "write NAME:PORT or IP:PORT")
		return false
	case a.Resolution == api.Resolution_RESOLUTION_NOT_FOUND:
		s.Says = "nothing in the cluster is known as " + e.path.To
		if a.Reason != "" {
			s.Says += ": " + a.Reason
		}
		e.fail(s, outcome.NoRoute, 503, "check the name, its namespace and the port: kubectl get "+
			"services -A")
		return false
	case a.Resolution == api.Resolution_RESOLUTION_OUTSIDE:
		e.say(StageDiscovery, "it is outside the mesh: the connection goes on to where it was "+
			"dialed, as it is")
		return false
	}
	s.Says = "it is known"
	switch {
	case a.Authority != "":
		s.Says = "it is " + a.Authority
	case len(s.By) > 0 && s.By[0].Kind == "Pod":
		s.Says = "it is one pod's own address, which is neither routed nor balanced elsewhere"
	}
	for _, part := range e.Told.Sources {
		if !part.Defines || len(e.Told.Sources) > 1 {
			s.Says += fmt.Sprintf("; %s has %d endpoints", part.Source, part.Endpoints)
		}
	}
	e.path.Steps = append(e.path.Steps, s)
	return true
}

// past is for a caller without a proxy: the cluster's network picks an endpoint of the Service.
func (e *explainer) past() error {
	e.say(StageCapture, "the caller has no proxy: nothing of what is said of routes, retries, "+
		"timeouts and balancing counts for it, and it calls in plaintext")
	cluster := e.route.GetAuthority()
	for _, b := range e.route.GetBackends() {
		if cluster == "" {
			cluster = b.Cluster
		}
	}
	all := e.Told.endpoints(cluster)
	if len(all) == 0 {
		e.noEndpoints(cluster)
		return nil
	}
	return e.callees(all)
}

// through goes the way through the caller's proxy.
func (e *explainer) through(a *discover.Answer) error {
	rule, ok := e.choose(a)
	if !ok {
		return nil
	}
	p := e.rulePlan(a, rule)
	e.say(StageRoute, p.says, p.by...)
	if rule.Redirect != nil {
		e.say(StageFilters, "the caller is told to make its request elsewhere: "+
			rule.Redirect.Location(e.head, a.Authority), p.by...)
		return nil
	}
	if p.http != nil {
		e.treat(a, rule, p.http)
	}
	var total float64
	for _, b := range p.backends {
		total += float64(b.Weight)
	}
	if total == 0 {
		e.fail(Step{Stage: StageBackend, Says: "no backend has any weight", By: p.to},
			outcome.NoEndpoints, 503, "give one of the rule's backends a weight")
		return nil
	}
	for _, b := range p.backends {
		if b.Weight == 0 {
			continue
		}
		e.share = float64(b.Weight) / total
		if err := e.backend(a, b, p.to); err != nil {
			return err
		}
	}
	return nil
}

// choose finds the rule, as the proxy does, and says what the connection is taken for.
func (e *explainer) choose(a *discover.Answer) (*route.Rule, bool) {
	by := e.Told.decided(destination.AboutProtocol)
	opaque := a.Protocol == api.Protocol_PROTOCOL_OPAQUE || a.Protocol == api.Protocol_PROTOCOL_TLS
	switch {
	case a.OnlyTLS() && e.Request.ServerName == "":
		e.fail(Step{Stage: StageProtocol, By: by, Says: "the port has TLSRoutes, which take " +
			"nothing but the application's own TLS"}, outcome.BadRequest, 0,
			"explain a connection of TLS: --server-name NAME")
		return nil, false
	case e.Request.ServerName != "" && a.HTTPOnly():
		e.fail(Step{Stage: StageProtocol, By: by, Says: "the port is declared to be HTTP, and " +
			"this is TLS of the caller's own"}, outcome.BadRequest, 0,
			"declare the port as https (appProtocol), or call it in plain HTTP")
		return nil, false
	case e.Request.ServerName != "" || opaque || e.Request.Method == "":
		e.say(StageProtocol, "the connection is carried unread: rules about requests do not count",
			by...)
		return a.Connection(e.Request.ServerName != "", e.Request.ServerName), true
	case a.Protocol == api.Protocol_PROTOCOL_DETECT:
		e.say(StageProtocol, "nobody has declared what the port speaks: its callers' first bytes "+
			"tell")
	default:
		e.say(StageProtocol, "the port speaks "+protocols[a.Protocol], by...)
	}
	return a.Find(e.head), true
}

var protocols = map[api.Protocol]string{
	api.Protocol_PROTOCOL_HTTP1: "HTTP/1", api.Protocol_PROTOCOL_HTTP2: "HTTP/2",
}

// plan is a rule as destination has said it.
type plan struct {
	http     *api.HTTPRule // nil: no rule about requests
	says     string
	by       []Object
	backends []*api.Backend
	to       []Object // whose the backends are
}

// rulePlan finds the message that a rule was made of.
func (e *explainer) rulePlan(a *discover.Answer, rule *route.Rule) (p plan) {
	place := a.Place(rule)
	var origin *api.Origin
	switch {
	case place < 0:
		p.backends = e.route.GetBackends()
		return e.fallback(p)
	case slices.Contains([]api.Protocol{api.Protocol_PROTOCOL_OPAQUE, api.Protocol_PROTOCOL_TLS},
		a.Protocol) || len(e.route.GetHttp()) == 0:
		if tls := e.route.GetTls(); len(tls) > 0 {
			origin, p.backends = tls[place].GetOrigin(), tls[place].GetBackends()
		} else {
			origin, p.backends = e.route.GetTcp()[place].GetOrigin(),
				e.route.GetTcp()[place].GetBackends()
		}
	default:
		p.http = e.route.GetHttp()[place]
		origin, p.backends = p.http.GetOrigin(), p.http.GetBackends()
	}
	p.by = ruleOf(origin, "", "")
	p.says = "this is the first rule that is for it"
	switch b := p.backends; {
	case len(b) == 0:
		rest := e.fallback(plan{backends: e.route.GetBackends()})
		p.backends, p.to = rest.backends, rest.by
	case len(b) == 1 && outcome.Fixed(int(b[0].Answer)) == outcome.NoRoute:
		p.says, p.http = "none of the rules is for it", nil // but one that destination has added
		p.by[0].Field = "spec.rules"
		p.to = p.by
	default:
		p.to = p.by
	}
	return p
}

// fallback is for what no rule is for.
func (e *explainer) fallback(p plan) plan {
	p.says = "there are no rules: it goes to the Service's own endpoints"
	if len(e.route.GetHttp())+len(e.route.GetTls())+len(e.route.GetTcp()) > 0 {
		p.says = "no rule is for it: it goes where all else goes"
	}
	if b := p.backends; len(b) > 1 || len(b) == 1 && b[0].Cluster != e.route.GetAuthority() &&
		e.route.GetAuthority() != "" {
		p.by = e.Told.users(crd.Kind, "", "")
		for i := range p.by {
			p.by[i].Field = "spec.dstOverrides"
		}
	}
	p.to = p.by
	return p
}
