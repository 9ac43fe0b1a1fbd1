package destination

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/api/destinationgrpc"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

func TestSnapshotThenDeltas(t *testing.T) {
	s := startServer(t, cluster)
	close(s.gate.open)
	c := s.dial(t, s.root.source(t, "spiffe://cluster.local/ns/shop/sa/web", "web-1"))
	w := c.hello()
	if w.GetKind() != "deployment" || w.GetName() != "web" || w.GetPod() != "web-1" {
		t.Errorf("known as %v", w)
	}
	c.resume()
	key := address("10.96.0.10:80")
	c.subscribe(key)
	first := c.wants(wholeRoute, wholeWeb, "Route address/10.96.0.10:80")

	s.apply(t, slice("192.0.2.1"))
	delta := c.wants("EndpointsDelta " + webName + " +192.0.2.1:80")
	if delta[0].Base != first[1].Version || delta[0].Version == first[1].Version {
		t.Errorf("delta from %q to %q, after %q", delta[0].Base, delta[0].Version, first[1].Version)
	}
	s.apply(t, slice("192.0.2.2"))
	c.wants("EndpointsDelta " + webName + " +192.0.2.2:80 -192.0.2.1:80")

	// the same clusters by another key: only the route is new
	c.subscribe(authority("web"))
	c.wants("Route authority/web")
	c.unsubscribe(key)
	c.wants("Route address/10.96.0.10:80 removed")
	c.unsubscribe(authority("web"))
	c.wants("Cluster "+webName+" removed", "Endpoints "+webName+" removed",
		"Route authority/web removed")

	c.subscribe(&api.Key{Key: &api.Key_InboundPort{InboundPort: 8080}})
	c.wants("Inbound inbound/8080")
}

func TestResume(t *testing.T) {
	s := startServer(t, cluster)
	close(s.gate.open)
	key := address("10.96.0.10:80")
	keeper := s.proxy(t) // keeps the cells, and so the versions, as other proxies do
	keeper.subscribe(key)
	var held []*api.Held
	for i, r := range keeper.wants(wholeRoute, wholeWeb, "Route address/10.96.0.10:80") {
		kind := []api.Kind{api.Kind_KIND_CLUSTER, api.Kind_KIND_ENDPOINTS, api.Kind_KIND_ROUTE}[i]
		held = append(held, &api.Held{Kind: kind, Name: r.Name, Version: r.Version})
	}

	same := s.resuming(t)
	same.subscribe(key)
	same.resume(held...)
	same.wants() // nothing differs, and it is told so
	same.cancel()

	s.apply(t, slice("192.0.2.1"))
	keeper.wants("EndpointsDelta " + webName + " +192.0.2.1:80")
	behind := s.resuming(t)
	behind.subscribe(key)
	behind.resume(held...)
	behind.wants("EndpointsDelta " + webName + " +192.0.2.1:80")
	behind.cancel()

	held[1].Version = strings.Repeat("0", 2*versionBytes)
	stranger := s.resuming(t)
	stranger.subscribe(key)
	stranger.resume(held...)
	stranger.wants("Endpoints " + webName + " 192.0.2.1:80 web-1/10.1.0.1:8080 web-2/10.1.0.2:8080")
}

// Every replica gives the same versions, whatever the order in which it learnt the state.
func TestVersionsAreEqualOnReplicas(t *testing.T) {
	objects := objectsOf(t, cluster)
	versions := func(reg *registry.Registry) (out []string) {
		testMesh().read(reg, func(v *view) {
			for _, q := range []question{
				{address: "10.96.0.10:80", namespace: "shop"},
				{cluster: clusterRef{service: objects[2].Key(), port: 80}},
			} {
				for _, r := range v.compute(q).seal().resources {
					out = append(out, r.version)
				}
			}
		})
		return out
	}
	one, two := registry.New(), registry.New()
	for i := range objects {
		apply(one, objects[i])
		apply(two, objects[len(objects)-1-i])
	}
	if a, b := versions(one), versions(two); fmt.Sprint(a) != fmt.Sprint(b) || len(a) != 3 {
		t.Errorf("versions are %v and %v", a, b)
	}
}

// A proxy that reads nothing holds up nobody, and gets the latest when it reads again, not each
// step.
func TestSlowReaderGetsTheLatest(t *testing.T) {
	s := startServer(t, cluster)
	close(s.gate.open)
	slow, quick := s.proxy(t), s.proxy(t)
	slow.subscribe(address("10.96.0.10:80"))
	quick.subscribe(address("10.96.0.10:80"))
	quick.wants(wholeRoute, wholeWeb, "Route address/10.96.0.10:80")

	const steps, wide = 40, 1000
	last := ""
	for step := range steps {
		addresses := make([]string, wide)
		for i := range addresses {
			addresses[i] = fmt.Sprintf("192.%d.%d.%d", step+1, i/200, i%200+1)
		}
		s.apply(t, slice(addresses...))
		last = quick.next().GetResources().GetResources()[0].Version // so every step was published
	}
	messages, version := 0, ""
	for version != last {
		for _, r := range slow.next().GetResources().GetResources() {
			if r.GetEndpoints() != nil || r.GetEndpointsDelta() != nil {
				version = r.Version
			}
		}
		messages++
	}
	if messages > steps/2 {
		t.Errorf("%d messages for %d steps: the slow reader was sent each", messages, steps)
	}
}

func TestInvalidKeysAreSaidSo(t *testing.T) {
	s := startServer(t, cluster)
	close(s.gate.open)
	c := s.proxy(t)
	for _, key := range []*api.Key{
		address("web:80"), address("10.0.0.1"), address(""), authority("we b"), authority("a:b:c"),
		{Key: &api.Key_InboundPort{InboundPort: 0}},
		{Key: &api.Key_InboundPort{InboundPort: 65536}},
	} {
		c.subscribe(key)
		if invalid := c.next().GetInvalid(); invalid == nil || invalid.Reason == "" ||
			api.KeyString(invalid.Key) != api.KeyString(key) {
			t.Errorf("%v is answered by %v", key, invalid)
		}
		if r := c.next().GetResources(); r == nil || len(r.Resources) != 0 {
			t.Errorf("%v is given %v", key, r)
		}
	}
	c.subscribe(address("10.96.0.10:80")) // the stream goes on
	c.wants(wholeRoute, wholeWeb, "Route address/10.96.0.10:80")
}

func TestRefusals(t *testing.T) {
	s := startServer(t, cluster)
	close(s.gate.open)
	for name, c := range map[string]struct {
		id, pod string
		first   *api.DiscoverRequest
		code    codes.Code
		text    string
	}{
		"a pod that does not exist": {id: "spiffe://cluster.local/ns/shop/sa/web", pod: "web-9",
			code: codes.PermissionDenied, text: "no pod shop/web-9"},
		"a pod of another account": {id: "spiffe://cluster.local/ns/shop/sa/web", pod: "web-2",
			code: codes.PermissionDenied, text: "runs as service account web"},
		"a pod of another namespace": {id: "spiffe://cluster.local/ns/other/sa/web", pod: "web-1",
			code: codes.PermissionDenied, text: "no pod other/web-1"},
		"no Hello": {id: "spiffe://cluster.local/ns/shop/sa/web", pod: "web-1",
			first: &api.DiscoverRequest{}, code: codes.InvalidArgument, text: "must be Hello"},
		"another trust domain": {id: "spiffe://elsewhere/ns/shop/sa/web", pod: "web-1",
			code: codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			src := s.root.source(t, c.id, c.pod)
			id := spiffeid.RequireFromString(serverID)
			cfg := credentials.NewTLS(spiffe.ClientConfig(src, id, []string{"h2"}, ""))
			conn, err := grpc.NewClient(s.addr, grpc.WithTransportCredentials(cfg))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			stream, err := destinationgrpc.NewDestinationClient(conn).Discover(t.Context())
			if err == nil {
				if c.first != nil {
					err = stream.Send(c.first)
				}
				for err == nil {
					_, err = stream.Recv()
				}
			}
			if status.Code(err) != c.code || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v, want %v and %q", err, c.code, c.text)
			}
		})
	}
}

func TestHelloOnce(t *testing.T) {
	s := startServer(t, cluster)
	close(s.gate.open)
	c := s.proxy(t)
	c.say(&api.DiscoverRequest{Message: &api.DiscoverRequest_Hello{Hello: &api.Hello{}}})
	c.failsWith(codes.InvalidArgument, "Hello comes once")
}

func TestStreamsOfOnePodAreLimited(t *testing.T) {
	s := startServer(t, cluster)
	close(s.gate.open)
	for range maxStreamsPerPod {
		s.proxy(t)
	}
	c := s.dial(t, s.root.source(t, "spiffe://cluster.local/ns/shop/sa/web", "web-1"))
	c.failsWith(codes.ResourceExhausted, "too many streams")
}

func TestRemovedRootEndsItsStreams(t *testing.T) {
	s := startServer(t, cluster)
	close(s.gate.open)
	c := s.proxy(t)
	s.identity.SetBundle(s.cfg.Mesh.TrustDomain, []*x509.Certificate{newRoot(t).cert})
	c.failsWith(codes.Unauthenticated, "no longer trusted")
}

// An empty answer while the state is being read would end working connections.
func TestNothingIsAnsweredBeforeTheSourceIsRead(t *testing.T) {
	s := startServer(t)
	if s.Ready() == nil {
		t.Error("ready before the source has been read")
	}
	c := s.dial(t, s.root.source(t, "spiffe://cluster.local/ns/shop/sa/web", "web-1"))
	c.say(&api.DiscoverRequest{Message: &api.DiscoverRequest_Hello{Hello: &api.Hello{}}})
	c.subscribe(address("10.96.0.10:80"))
	c.resume()
	s.apply(t, objectsOf(t, cluster)...)
	close(s.gate.open)
	if c.next().GetWelcome() == nil {
		t.Error("no Welcome")
	}
	c.wants(wholeRoute, wholeWeb, "Route address/10.96.0.10:80")
	if err := s.Ready(); err != nil {
		t.Error(err)
	}
}

func TestCellsGoWithTheirStreams(t *testing.T) {
	s := startServer(t, cluster)
	close(s.gate.open)
	c, d := s.proxy(t), s.proxy(t)
	for _, stream := range []*client{c, d} {
		stream.subscribe(address("10.96.0.10:80"))
		stream.wants(wholeRoute, wholeWeb, "Route address/10.96.0.10:80")
	}
	if n := s.hub.size(); n != 2 {
		t.Errorf("%d cells for one question of two proxies, want a route's and a cluster's", n)
	}
	for _, stream := range []*client{c, d} {
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		stream.failsWith(codes.Unknown, "EOF")
	}
	if n := s.hub.size(); n != 0 || len(s.hub.byTopic) != 0 {
		t.Errorf("%d cells and %d topics are left", n, len(s.hub.byTopic))
	}
}
