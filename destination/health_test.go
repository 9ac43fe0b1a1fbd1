package destination

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/api/destinationgrpc"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/test/await"
)

const (
	well   = api.State_STATE_HEALTHY
	sick   = api.State_STATE_UNHEALTHY
	nobody = api.State_STATE_UNCHECKED

	endpointsWeb = "Endpoints " + webName
	deltaWeb     = "EndpointsDelta " + webName + " +"
	oneWeb       = " web-1/10.1.0.1:8080"
	twoWeb       = " web-2/10.1.0.2:8080"
)

// is what a proxy says of port 8080; later ones have greater numbers.
func is(state api.State, sequence uint64) *api.Health {
	m := &api.Health{Port: 8080, State: state, Sequence: sequence}
	if state == sick {
		m.Reason = "/live is answered by 503"
	}
	return m
}

func (c *client) says(m *api.Health) {
	c.t.Helper()
	c.say(&api.DiscoverRequest{Message: &api.DiscoverRequest_Health{Health: m}})
}

// other is the stream of shop's second pod.
func (s *server) other(t testing.TB) *client {
	t.Helper()
	c := s.dial(t, s.root.source(t, "spiffe://cluster.local/ns/shop/sa/default", "web-2"))
	c.hello()
	c.resume()
	return c
}

// An endpoint whose proxy says that its application is not well leaves every answer, and comes back
// by the same way. Health never empties a service.
func TestWhoIsNotWellIsLeftOut(t *testing.T) {
	s := startServer(t, cluster)
	close(s.gate.open)
	one, two := s.proxy(t), s.other(t)
	two.subscribe(address("10.96.0.10:80"))
	two.wants(wholeRoute, wholeWeb, "Route address/10.96.0.10:80")

	one.says(is(sick, 1))
	two.wants(endpointsWeb + twoWeb)
	two.says(is(sick, 1)) // the last one: all are as good as another
	two.wants(deltaWeb + strings.TrimSpace(oneWeb))
	one.says(is(well, 2))
	two.wants(endpointsWeb + oneWeb)
	two.says(is(nobody, 2))
	two.wants(deltaWeb + strings.TrimSpace(twoWeb))
}

// The pod that was dialed is the one that is called, well or not, and so is one that its name
// chooses.
func TestWhoIsChosenIsCalledWhateverItsHealth(t *testing.T) {
	reg := registryOf(t, cluster)
	h := newHealths(reg)
	hears(t, h, "db-1", "", &api.Health{Port: 5432, State: sick})
	for key, want := range map[*api.Key]string{
		address("10.1.0.11:5432"): "10.1.0.11:5432",
		authority("db-1.db:5432"): "db-1.db.shop.svc.cluster.local:5432",
	} {
		got := ask(reg, testMesh(), key, webPod)
		if !strings.Contains(got, want+"[db-1/10.1.0.11:5432") {
			t.Errorf("%v is %s", key, got)
		}
	}
	if got := ask(reg, testMesh(), authority("db:5432"), webPod); strings.Contains(got, "db-1/") {
		t.Errorf("of all: %s", got)
	}
}

func hears(t testing.TB, h *healths, pod, uid string, m *api.Health) {
	t.Helper()
	err := h.hear(finding{pod: registry.Name{Namespace: "shop", Name: pod}, uid: uid, health: m,
		lifetime: api.HealthLifetime, own: true})
	if err != nil {
		t.Fatal(err)
	}
}

// endpointsNow are the answer of the moment.
func endpointsNow(reg *registry.Registry) string {
	return ask(reg, testMesh(), address("10.96.0.10:80"), stranger)
}

const (
	bothAnswer = "FOUND " + web
	twoAnswer  = "FOUND web.shop.svc.cluster.local:80[" + web2 + "]"
)

// What is not said again within its lifetime is unknown, and leaves the source's answer.
func TestHealthThatIsNotSaidAgainIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := registryOf(t, cluster)
		h := newHealths(reg)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go h.run(ctx)
		hears(t, h, "web-1", "u1", is(sick, 7))
		for range 5 {
			time.Sleep(api.HealthRefresh + api.HealthRefresh/2)
			synctest.Wait()
			if got := endpointsNow(reg); got != twoAnswer {
				t.Fatalf("it was said again, and %s", got)
			}
			hears(t, h, "web-1", "u1", is(sick, 7))
		}
		time.Sleep(api.HealthLifetime - time.Millisecond)
		synctest.Wait()
		if got := endpointsNow(reg); got != twoAnswer {
			t.Errorf("before its lifetime is over: %s", got)
		}
		time.Sleep(sweepEvery + 2*time.Millisecond)
		synctest.Wait()
		if got := endpointsNow(reg); got != bothAnswer {
			t.Errorf("after a silence: %s", got)
		}
		if len(h.pods) != 0 {
			t.Errorf("%d pods are remembered", len(h.pods))
		}
	})
}

// What was said before counts no more, by whichever way it comes; nor does what was said of a pod
// that had the name before, nor of this one by a proxy of that.
func TestTheLatestCounts(t *testing.T) {
	reg := registryOf(t, cluster)
	h := newHealths(reg)
	for _, step := range []struct {
		uid  string
		said *api.Health
		want string
	}{
		{"u1", is(sick, 10), twoAnswer},
		{"u1", is(well, 9), twoAnswer},
		{"u1", is(well, 11), bothAnswer},
		{"u0", is(sick, 12), bothAnswer},
		{"u1", is(sick, 11), bothAnswer},
		{"u1", is(sick, 13), twoAnswer},
	} {
		hears(t, h, "web-1", step.uid, step.said)
		if got := endpointsNow(reg); got != step.want {
			t.Errorf("after %s of %s: %s", step.said, step.uid, got)
		}
	}
}

// Nothing that waits for more of its kind holds up a loss: it is told without any time passing,
// however busy the cluster is.
func TestALossOfHealthIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := registryOf(t, cluster)
		h, hub := newHealths(reg), newHub(reg, testMesh())
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go hub.run(ctx)
		w := newWatcher()
		ref := clusterRef{service: registry.Name{Namespace: "shop", Name: "web"}, port: 80}
		c := hub.watch(question{cluster: ref}, w)
		defer hub.release(c, w)
		began := time.Now()
		apply(reg, slice("192.0.2.1")) // which is told, and then others wait
		synctest.Wait()
		hears(t, h, "web-1", "u1", is(sick, 1))
		synctest.Wait()
		list := c.answer.Load().endpoints().snapshot.GetEndpoints().GetEndpoints()
		for _, ep := range list {
			if strings.HasPrefix(ep.Id, "web-1/") {
				t.Errorf("it is still among %d endpoints", len(list))
			}
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("it took %v", took)
		}
	})
}

const liveCheck = "healthCheck: {http: {path: /live}, interval: 2s}"

// A port with a check is told to its pod's proxy before anybody has called it, and no longer once
// nobody has it checked. A proxy that cannot check is not told.
func TestAProxyIsToldWhatToCheck(t *testing.T) {
	s := startServer(t, cluster, trafficPolicy("shop", "p", webTarget, liveCheck))
	close(s.gate.open)
	self := &api.Key{Key: &api.Key_Self{Self: &api.Self{}}}
	c := s.dial(t, s.root.source(t, "spiffe://cluster.local/ns/shop/sa/web", "web-1"))
	c.hello(api.CapabilityHealthCheck)
	c.resume()
	c.subscribe(self)
	in := c.wants("Inbound inbound/8080")[0].GetInbound()
	if check := in.GetHealthCheck(); check.GetHttp().GetPath() != "/live" ||
		check.IntervalMs != 2000 || check.TimeoutMs != 1000 || check.UnhealthyThreshold != 3 {
		t.Errorf("told is %v", check)
	}
	c.subscribe(&api.Key{Key: &api.Key_InboundPort{InboundPort: 8080}})
	c.wants() // it has it

	old := s.proxy(t)
	old.subscribe(self)
	if why := old.next().GetInvalid().GetReason(); !strings.Contains(why, "health-check") {
		t.Errorf("a proxy that cannot check is told %q", why)
	}

	s.registry.Owner("test").Apply(registry.Change{Delete: []registry.Object{&registry.Policy{
		Meta: registry.Meta{Namespace: "shop", Name: "p"}, Kind: "BackendTrafficPolicy"}}})
	if in := c.wants("Inbound inbound/8080")[0].GetInbound(); in.GetHealthCheck() != nil {
		t.Errorf("without the policy it is told %v", in.HealthCheck)
	}
}

// A consumer does not say how another namespace's pods are asked.
func TestOnlyTheirNamespaceHasPodsChecked(t *testing.T) {
	for policy, want := range map[string]bool{
		trafficPolicy("shop", "p", webTarget, liveCheck):                                    true,
		trafficPolicy("shop", "p", "{kind: Namespace, name: shop}", liveCheck):              true,
		trafficPolicy("shop", "p", "{kind: Service, name: db}", liveCheck):                  false,
		trafficPolicy("shop", "p", "{kind: Service, name: web, sectionName: x}", liveCheck): false,
	} {
		reg := registryOf(t, cluster, policy)
		testMesh().read(reg, func(v *view) {
			in, err := v.inbound(8080, registry.Name{Namespace: "shop", Name: "web-1"})
			if err != nil || (in.HealthCheck != nil) != want {
				t.Errorf("%s\nhas %v, %v", policy, in.GetHealthCheck(), err)
			}
		})
	}
}

func TestDiagnosticsShowHealth(t *testing.T) {
	s := startServer(t, cluster)
	close(s.gate.open)
	<-s.synced
	hears(t, s.healths, "web-1", "u1",
		&api.Health{Port: 8080, State: sick, Reason: "no\x1b[2Janswer"})
	hears(t, s.healths, "web-2", "u2", is(well, 1))
	r := httptest.NewRequest(http.MethodGet, "/resources?authority=web.shop", nil)
	r.Host = "localhost"
	w := httptest.NewRecorder()
	s.Diagnostics().ServeHTTP(w, r)
	const want = `"health":[{"cluster":"web.shop.svc.cluster.local:80",` +
		`"id":"web-1/10.1.0.1:8080","state":"unhealthy","reason":"no[2Janswer"},` +
		`{"cluster":"web.shop.svc.cluster.local:80","id":"web-2/10.1.0.2:8080","state":"healthy"}]`
	if !strings.Contains(w.Body.String(), want) {
		t.Errorf("got %s\nwant %s in it", w.Body, want)
	}
}

// replicas are the pods behind destination's own Service, as every replica reads them.
func replicas(t testing.TB, all map[string]*server) (out []registry.Object) {
	t.Helper()
	out = []registry.Object{&registry.Service{
		Meta:  registry.Meta{Namespace: "tulle", Name: "tulle-destination"},
		Ports: []registry.ServicePort{{Name: "tls", Number: 8086}},
	}}
	for pod, s := range all {
		addr := netip.MustParseAddrPort(s.addr)
		out = append(out, &registry.Slice{
			Meta:    registry.Meta{Namespace: "tulle", Name: pod},
			Service: registry.Name{Namespace: "tulle", Name: "tulle-destination"},
			Family:  registry.IPv4,
			Ports:   []registry.NamedPort{{Name: "tls", Number: addr.Port()}},
			Endpoints: []registry.Endpoint{{Address: addr.Addr(), Ready: true,
				Workload: registry.Name{Namespace: "tulle", Name: pod}}},
		})
	}
	return out
}

// A proxy speaks to one replica, and counts at all of them: at those that are there already, and at
// one that comes later.
func TestReplicasAgree(t *testing.T) {
	r := newRoot(t)
	all := map[string]*server{
		"a": startReplica(t, r, "a", cluster), "b": startReplica(t, r, "b", cluster),
	}
	for _, s := range all {
		s.apply(t, replicas(t, all)...)
	}
	one, two := all["a"].proxy(t), all["b"].other(t)
	two.subscribe(address("10.96.0.10:80"))
	two.wants(wholeRoute, wholeWeb, "Route address/10.96.0.10:80")
	one.says(is(sick, 1))
	two.wants(endpointsWeb + twoWeb)

	all["c"] = startReplica(t, r, "c", cluster)
	for _, s := range all {
		s.apply(t, replicas(t, all)...)
	}
	await.True(t, "the third replica has heard it", func() bool {
		return endpointsNow(all["c"].registry) == twoAnswer
	})
	late := all["c"].other(t)
	late.subscribe(address("10.96.0.10:80"))
	late.wants(wholeRoute, endpointsWeb+twoWeb, "Route address/10.96.0.10:80")
	one.says(is(well, 2))
	two.wants(deltaWeb + strings.TrimSpace(oneWeb))
	late.wants(deltaWeb + strings.TrimSpace(oneWeb))

	// the proxy moves
	one.cancel()
	moved := all["c"].proxy(t)
	moved.says(is(sick, 3))
	two.wants(endpointsWeb + twoWeb)
	late.wants(endpointsWeb + twoWeb)
	await.True(t, "each replica hears the two others", func() bool {
		return all["a"].peers.Load()+all["b"].peers.Load()+all["c"].peers.Load() == 6
	})
}

// Nobody but a replica is told what proxies say.
func TestOnlyReplicasAreTold(t *testing.T) {
	s := startReplica(t, newRoot(t), "a", cluster)
	src := s.root.source(t, "spiffe://cluster.local/ns/shop/sa/web", "web-1")
	cfg := spiffe.ClientConfig(src, spiffeid.RequireFromString(serverID), []string{"h2"}, "")
	conn, err := grpc.NewClient(s.addr, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	stream, err := destinationgrpc.NewDestinationClient(conn).Relay(t.Context(),
		&api.RelayRequest{})
	if err == nil {
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "no replica") {
		t.Errorf("%v", err)
	}
}

// What a pod can have remembered of it is bounded.
func TestHealthOfManyPortsIsRefused(t *testing.T) {
	s := startServer(t, cluster)
	close(s.gate.open)
	c := s.proxy(t)
	for port := range uint32(api.MaxHealthPorts + 1) {
		c.says(&api.Health{Port: port + 1, State: well})
	}
	c.failsWith(codes.ResourceExhausted, "Health of more than 32 ports")
}

// Another replica hears of a change without any time passing, and within a second of what is only
// said again.
func TestAChangeIsRelayedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHealths(registryOf(t, cluster))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r, err := h.join()
		if err != nil {
			t.Fatal(err)
		}
		told := make(chan string, 100)
		take := func(m *api.RelayResponse) { h.take(r, m) }
		go r.tell(ctx, take, func(m *api.RelayResponse) error {
			for _, one := range m.GetHealths() {
				left := time.Duration(one.LifetimeMs) * time.Millisecond
				told <- one.Pod + " " + stateName(one.Health.State) + " " + left.String()
			}
			return nil
		})
		wants := func(after time.Duration, want ...string) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			for _, text := range append(want, "") {
				got := ""
				select {
				case got = <-told:
				default:
				}
				if got != text {
					t.Errorf("told is %q, want %q", got, text)
				}
			}
		}
		hears(t, h, "web-1", "u1", is(sick, 1))
		wants(0, "web-1 unhealthy 1m0s")
		time.Sleep(relayEvery / 2)
		hears(t, h, "web-1", "u1", is(sick, 1))
		wants(0)
		wants(relayEvery/2, "web-1 unhealthy 59.5s")
		hears(t, h, "web-1", "u1", is(well, 2))
		hears(t, h, "web-1", "u1", is(nobody, 3))
		wants(0, "web-1 unchecked 1m0s") // the latest
	})
}
