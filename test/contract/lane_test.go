package contract

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/await"
)

// lane is a way through one proxy that shares no resource with the others: its own route to its own
// cluster, whose one endpoint is the proxy's own inbound side, and a port there with a policy of
// its own. A request goes all the way, over mTLS, or is refused somewhere on it.
type lane struct {
	authority string
	port      int
	app       string
	inbound   string // the proxy's
}

func laneOf(number int) *lane {
	return &lane{
		authority: fmt.Sprintf("lane-%d.shop.svc.cluster.local:80", number), port: 10000 + number,
	}
}

func (l *lane) key() *api.Key {
	return &api.Key{Key: &api.Key_Authority{Authority: l.authority}}
}

func (l *lane) portKey() *api.Key {
	return &api.Key{Key: &api.Key_InboundPort{InboundPort: uint32(l.port)}}
}

// names of versions of one resource differ.
var versions int

func version() string {
	versions++
	return fmt.Sprintf("%024d", versions)
}

func (l *lane) route() *api.Resource {
	return &api.Resource{
		Kind: api.Kind_KIND_ROUTE, Name: api.KeyString(l.key()), Version: version(),
		Body: &api.Resource_Route{Route: &api.Route{
			Resolution: api.Resolution_RESOLUTION_FOUND, Protocol: api.Protocol_PROTOCOL_DETECT,
			Authority: l.authority, Backends: []*api.Backend{{Cluster: l.authority, Weight: 1}},
		}},
	}
}

func (l *lane) cluster() *api.Resource {
	return &api.Resource{
		Kind: api.Kind_KIND_CLUSTER, Name: l.authority, Version: version(),
		Body: &api.Resource_Cluster{Cluster: &api.Cluster{
			Name: l.authority, Balancer: &api.Cluster_Ewma{Ewma: &api.EWMA{}},
		}},
	}
}

func (l *lane) endpoint() *api.Endpoint {
	return &api.Endpoint{
		Id: "web-0/" + l.app, Address: l.app, MeshAddress: l.inbound, TargetPort: uint32(l.port),
		Identity: workloadID("web").String(), Protocol: api.Protocol_PROTOCOL_DETECT,
	}
}

func (l *lane) endpoints(list ...*api.Endpoint) *api.Resource {
	return &api.Resource{
		Kind: api.Kind_KIND_ENDPOINTS, Name: l.authority, Version: version(),
		Body: &api.Resource_Endpoints{Endpoints: &api.Endpoints{Endpoints: list}},
	}
}

func (l *lane) delta(base string) *api.Resource {
	return &api.Resource{
		Kind: api.Kind_KIND_ENDPOINTS, Name: l.authority, Version: version(), Base: base,
		Body: &api.Resource_EndpointsDelta{EndpointsDelta: &api.EndpointsDelta{
			Changed: []*api.Endpoint{l.endpoint()},
		}},
	}
}

func (l *lane) policy(action api.Action) *api.Resource {
	return &api.Resource{
		Kind: api.Kind_KIND_INBOUND, Name: api.KeyString(l.portKey()), Version: version(),
		Body: &api.Resource_Inbound{Inbound: &api.Inbound{
			Port: uint32(l.port), Protocol: api.Protocol_PROTOCOL_DETECT,
			Mode: api.Mode_MODE_STRICT, DefaultAction: action, Reach: api.Reach_REACH_CHOSEN,
			Authorizations: []*api.Authorization{
				{Identities: []string{workloadID("other").String()}},
			},
		}},
	}
}

// removal of a resource.
func removal(of *api.Resource) *api.Resource {
	return &api.Resource{Kind: of.Kind, Name: of.Name, Removed: true}
}

func resources(list ...*api.Resource) *api.DiscoverResponse {
	return &api.DiscoverResponse{Message: &api.DiscoverResponse_Resources{
		Resources: &api.Resources{Resources: list},
	}}
}

// road is a scripted destination, one proxy, an application and as many lanes as are wanted.
type road struct {
	*script
	proxy *sidecar
	lanes []*lane
}

// shortWait is how long a request waits for an answer of destination's, or for an endpoint.
const shortWait = 20 * time.Millisecond

func newRoad(t testing.TB, lanes int) *road {
	t.Helper()
	m := newMesh(t)
	r := &road{script: newScript(m)}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "app")
	}))
	t.Cleanup(app.Close)
	s := setup{
		account: "web", pod: "web-0", destination: r.addr, apps: map[int]string{}, limits: quick(),
	}
	for i := range lanes {
		l := laneOf(i)
		l.app = strings.TrimPrefix(app.URL, "http://")
		r.lanes = append(r.lanes, l)
		s.apps[l.port] = l.app
		s.upstreams = append(s.upstreams, l.authority)
	}
	r.proxy = m.start(s)
	for _, l := range r.lanes {
		l.inbound = r.proxy.inbound
	}
	return r
}

// get asks for the lane's application, and returns the status and the body.
func (r *road) get(l *lane) (int, string) {
	r.t.Helper()
	client := &http.Client{
		Timeout: await.Limit, Transport: &http.Transport{DisableKeepAlives: true},
		// a redirect is an answer: that of the known one may still hold
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
	resp, err := client.Get("http://" + r.proxy.out[l.authority] + "/")
	check(r.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	check(r.t, err)
	return resp.StatusCode, string(b)
}

// becomes waits until the lane answers so.
func (r *road) becomes(l *lane, status int) {
	r.t.Helper()
	deadline := time.Now().Add(await.Limit)
	for {
		got, body := r.get(l)
		if got == status {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s is answered by %d (%s), want %d", l.authority, got, body, status)
		}
	}
}

// open answers the lane's keys by what is good, as one change.
func (r *road) open(l *lane) (route, cluster, endpoints, inbound *api.Resource) {
	r.t.Helper()
	route, cluster = l.route(), l.cluster()
	endpoints, inbound = l.endpoints(l.endpoint()), l.policy(api.Action_ACTION_ALLOW)
	r.answer(api.KeyString(l.key()), encode(r.t, resources(cluster, endpoints, route)))
	r.answer(api.KeyString(l.portKey()), encode(r.t, resources(inbound)))
	return route, cluster, endpoints, inbound
}

// same is a resource in another version.
func same(r *api.Resource) *api.Resource {
	out := proto.CloneOf(r)
	out.Version = version()
	return out
}

func quick() config.Limits {
	l := config.DefaultLimits()
	l.DiscoveryWait = shortWait
	return l
}
