//go:build !race

package allocations

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/output"
	"google.golang.org/protobuf/proto"
)

const (
	service    = "web.shop.svc.cluster.local:80"
	identities = "spiffe://cluster.local/ns/shop/sa/"
)

// meshed is where a caller's application dials a scripted one, with or without a proxy of its own,
// world is what destination tells of the service that is called.
type world struct {
	mesh    bool             // a proxy is before the application, too
	cluster *api.Cluster     // nil: as one is used that nobody has described
	more    int              // endpoints, all of which are the one
	limits  []*api.RateLimit // of the application's port
	rules   []*api.HTTPRule  // of the service's route
	tracing *api.Tracing     // what the proxies are told of it
}

// meshed is where a caller's application dials a scripted one, with or without a proxy of its own.
func meshed(t testing.TB, w world) (addr string) {
	app := newApp(t)
	_, text, err := net.SplitHostPort(app)
	check(t, err)
	port, err := strconv.Atoi(text)
	check(t, err)
	web := &api.Endpoint{Id: "web-0/" + app, Address: app, TargetPort: uint32(port),
		Protocol: api.Protocol_PROTOCOL_DETECT}
	if w.mesh {
		web.MeshAddress, web.Identity = loopback.Free(), identities+"web"
	}
	p := newPlane(t, w.answers(web))
	if w.mesh {
		p.proxy(t, "web", map[string]string{
			config.EnvInboundListen: web.MeshAddress, config.EnvInboundApps: text + "=" + app,
			config.EnvOutboundUpstreams: loopback.Free() + "=" + service,
		})
	}
	addr = loopback.Free()
	p.proxy(t, "client", map[string]string{
		config.EnvInboundListen: loopback.Free(), config.EnvInboundApps: "1=127.0.0.1:1",
		config.EnvOutboundUpstreams: addr + "=" + service,
	})
	return addr
}

// ewma is how a cluster is used that nobody has described.
func ewma() *api.Cluster {
	return &api.Cluster{Balancer: &api.Cluster_Ewma{Ewma: &api.EWMA{}}}
}

// protected is a cluster whose protection has nothing to do.
func protected() *api.Cluster {
	c := ewma()
	c.Limits = &api.ClusterLimits{MaxConnections: 1000, MaxPending: 1000, MaxRequests: 1000,
		MaxRetries: 10}
	c.OutlierDetection = &api.OutlierDetection{ConsecutiveFailures: 7,
		SuccessRate: &api.SuccessRate{ThresholdPercent: 80, WindowMs: 10_000, MinRequests: 5},
		Deviation: &api.Deviation{Factor: 1.9, IntervalMs: 10_000, MinEndpoints: 5,
			MinRequests: 100}}
	return c
}

// hashed is a cluster whose requests are looked at for several keys.
func hashed() *api.Cluster {
	return &api.Cluster{Balancer: &api.Cluster_ConsistentHash{ConsistentHash: &api.ConsistentHash{
		Keys: []*api.HashKey{{Key: &api.HashKey_Header{Header: "x-none"}},
			{Key: &api.HashKey_Query{Query: "none"}},
			{Key: &api.HashKey_Cookie{Cookie: &api.Cookie{Name: "session", TtlMs: 1}}}},
		Table:              &api.ConsistentHash_Maglev{Maglev: &api.Maglev{}},
		BoundedLoadPercent: 25,
	}}}
}

// busy is a cluster whose requests are hashed, and whose endpoints are judged.
func busy() *api.Cluster {
	c := protected()
	c.Balancer = hashed().Balancer
	return c
}

// rules are so many of which the last alone matches.
func rules(n int) (all []*api.HTTPRule) {
	path := func(prefix string) *api.Match {
		return &api.Match{Match: &api.Match_Path{
			Path: &api.PathMatch{Path: &api.PathMatch_Prefix{Prefix: prefix}}}}
	}
	for i := range n - 1 {
		method := &api.Match{Match: &api.Match_Method{Method: "GET"}}
		header := &api.Match{Match: &api.Match_Header{Header: &api.HeaderMatch{Name: "x-rule",
			Value: &api.HeaderMatch_Exact{Exact: fmt.Sprint(i)}}}}
		both := &api.MatchList{Matches: []*api.Match{path("/"), method, header}}
		all = append(all, &api.HTTPRule{Match: &api.Match{Match: &api.Match_All{All: both}}})
	}
	all = append(all, &api.HTTPRule{Match: path("/")})
	for i, rule := range all {
		rule.Origin = &api.Origin{Rule: fmt.Sprint(i)}
	}
	return all
}

// answers are destination's about the service whose endpoint is web.
func (w *world) answers(web *api.Endpoint) map[string]*api.Resources {
	c := w.cluster
	if c == nil {
		c = ewma()
	}
	endpoints := []*api.Endpoint{web}
	for i := range w.more {
		again := proto.CloneOf(web)
		again.Id += fmt.Sprint(" again ", i)
		endpoints = append(endpoints, again)
	}
	outbound := &api.Key{Key: &api.Key_Authority{Authority: service}}
	inbound := &api.Key{Key: &api.Key_InboundPort{InboundPort: web.TargetPort}}
	answers := map[string]*api.Resources{}
	answer := func(key *api.Key, resources ...*api.Resource) {
		for _, r := range resources {
			r.Version = strings.Repeat("0", api.VersionLen)
		}
		answers[api.KeyString(key)] = &api.Resources{Resources: resources}
	}
	shop := &api.Metadata{Namespace: "shop", Service: "web"}
	c.Name, c.Metadata = service, shop
	answer(outbound, &api.Resource{Kind: api.Kind_KIND_CLUSTER, Name: service,
		Body: &api.Resource_Cluster{Cluster: c},
	}, &api.Resource{Kind: api.Kind_KIND_ENDPOINTS, Name: service,
		Body: &api.Resource_Endpoints{
			Endpoints: &api.Endpoints{Endpoints: endpoints}},
	}, &api.Resource{Kind: api.Kind_KIND_ROUTE, Name: api.KeyString(outbound),
		Body: &api.Resource_Route{Route: &api.Route{Destination: shop, Authority: service,
			Resolution: api.Resolution_RESOLUTION_FOUND, Protocol: api.Protocol_PROTOCOL_DETECT,
			Backends: []*api.Backend{{Cluster: service, Weight: 1}}, Http: w.rules}},
	})
	answer(inbound, &api.Resource{Kind: api.Kind_KIND_INBOUND, Name: api.KeyString(inbound),
		Body: &api.Resource_Inbound{Inbound: &api.Inbound{Port: web.TargetPort, Service: shop,
			Protocol: api.Protocol_PROTOCOL_DETECT, Mode: api.Mode_MODE_PERMISSIVE,
			DefaultAction: api.Action_ACTION_ALLOW, Reach: api.Reach_REACH_CHOSEN,
			RateLimits: w.limits}}})
	if w.tracing != nil {
		answer(&api.Key{Key: &api.Key_Self{}}, &api.Resource{Kind: api.Kind_KIND_CONFIG,
			Name: "self", Body: &api.Resource_Config{Config: &api.Config{Tracing: w.tracing}}})
	}
	return answers
}

// proxy runs an account's proxy until the test ends.
func (p *plane) proxy(t testing.TB, account string, env map[string]string) {
	admin, token := loopback.Free(), filepath.Join(t.TempDir(), "token")
	check(t, os.WriteFile(token, []byte("believed"), 0o600))
	for name, value := range map[string]string{
		config.EnvIdentity: identities + account, config.EnvTrustFile: p.trust,
		config.EnvTokenFile: token, config.EnvAdminListen: admin, config.EnvDrainGrace: "5s",
		config.EnvIdentityAddr: p.addr, config.EnvIdentityID: p.id.String(),
		config.EnvDestinationAddr: p.addr, config.EnvDestinationID: p.id.String(),
	} {
		env[name] = value
	}
	cfg, err := config.Parse(func(name string) string { return env[name] })
	check(t, err)
	said := &output.Buffer{}
	running, err := proxy.New(cfg, "test", proxy.Output{Access: io.Discard,
		Log: slog.New(slog.NewTextHandler(said, nil)), Level: &slog.LevelVar{}})
	check(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- running.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		check(t, await.Receive(t, "the proxy of "+account+" has drained", result))
		if t.Failed() {
			t.Log(said.String())
		}
	})
	await.True(t, "the proxy of "+account+" is ready", func() bool { return ready(admin) })
}

// ready is the proxy's own word. It keeps no connection, whose reader would be counted.
func ready(admin string) bool {
	asker := &http.Client{Timeout: 5 * time.Second,
		Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := asker.Get("http://" + admin + "/ready")
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
