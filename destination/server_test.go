package destination

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority signs whatever a test asks of it; the real CA, which refuses, is tested in identity.
type root struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newRoot(t testing.TB) *root {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	return &root{key, sign(t, template, template, key.Public(), key)}
}

func sign(t testing.TB, template, parent *x509.Certificate, public any, key *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// source is who has the ID, was attested as the pod, and trusts the root.
func (r *root) source(t testing.TB, id, pod string) *spiffe.Source {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	uri, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	cert := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: pod}, URIs: []*url.URL{uri},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, r.cert, key.Public(), r.key)
	s := spiffe.NewSource()
	s.SetSVID(&x509svid.SVID{ID: spiffeid.RequireFromString(id), Certificates: []*x509.Certificate{cert}, PrivateKey: key})
	s.SetBundles(spiffe.Bundles{
		spiffeid.RequireTrustDomainFromString("cluster.local"): {r.cert},
		spiffeid.RequireTrustDomainFromString("elsewhere"):     {r.cert},
	})
	return s
}

// gate is a Source that a test fills by hand, and that is synced when the test says so.
type gate struct {
	state chan *State
	open  chan struct{}
}

func (g *gate) Run(ctx context.Context, state *State, synced func()) error {
	g.state <- state
	select {
	case <-g.open:
		synced()
	case <-ctx.Done():
	}
	<-ctx.Done()
	return nil
}

// server is a Destination that answers on loopback, over real TLS.
type server struct {
	*Destination
	root     *root
	identity *spiffe.Source
	addr     string
	gate     *gate
}

const serverID = "spiffe://cluster.local/ns/tulle/sa/tulle-destination"

func startServer(t testing.TB, documents ...string) *server {
	t.Helper()
	s := &server{root: newRoot(t), gate: &gate{make(chan *State, 1), make(chan struct{})}}
	s.identity = s.root.source(t, serverID, "")
	s.Destination = New(Config{Mesh: *testMesh(), Source: s.gate, Identity: s.identity, Log: slog.New(slog.DiscardHandler)})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-s.gate.state
	for _, obj := range objectsOf(t, documents...) {
		s.apply(t, obj)
	}
	return s
}

func (s *server) apply(t testing.TB, objects ...metav1.Object) {
	t.Helper()
	if err := s.state.Apply(Change{Set: objects}); err != nil {
		t.Fatal(err)
	}
}

// client is a proxy's end of a stream.
type client struct {
	t testing.TB
	grpc.ClientStream
	cancel context.CancelFunc
}

func (s *server) dial(t testing.TB, src *spiffe.Source) *client {
	t.Helper()
	cfg := spiffe.ClientConfig(src, spiffeid.RequireFromString(serverID), []string{"h2"}, "")
	conn, err := grpc.NewClient(s.addr, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/tulle.destination.v1.Destination/Discover")
	if err != nil {
		t.Fatal(err)
	}
	return &client{t, stream, cancel}
}

// proxy connects as shop/web's pod and says Hello.
func (s *server) proxy(t testing.TB) *client {
	t.Helper()
	c := s.dial(t, s.root.source(t, "spiffe://cluster.local/ns/shop/sa/web", "web-1"))
	c.hello()
	return c
}

func (c *client) say(req *api.DiscoverRequest) {
	c.t.Helper()
	if err := c.SendMsg(req); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) hello() *api.Workload {
	c.t.Helper()
	c.say(&api.DiscoverRequest{Message: &api.DiscoverRequest_Hello{Hello: &api.Hello{Version: "test"}}})
	return c.next().GetWelcome().GetWorkload()
}

func (c *client) subscribe(key *api.Key, held ...*api.Held) {
	c.t.Helper()
	c.say(&api.DiscoverRequest{Message: &api.DiscoverRequest_Subscribe{Subscribe: &api.Subscribe{Key: key, Held: held}}})
}

func (c *client) unsubscribe(key *api.Key) {
	c.t.Helper()
	c.say(&api.DiscoverRequest{Message: &api.DiscoverRequest_Unsubscribe{Unsubscribe: &api.Unsubscribe{Key: key}}})
}

func (c *client) next() *api.DiscoverResponse {
	c.t.Helper()
	resp := &api.DiscoverResponse{}
	if err := c.RecvMsg(resp); err != nil {
		c.t.Fatal(err)
	}
	return resp
}

// wants compares the next message's resources, each on one line.
func (c *client) wants(want ...string) []*api.Resource {
	c.t.Helper()
	resources := c.next().GetResources().GetResources()
	var got []string
	for _, r := range resources {
		got = append(got, line(r))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		c.t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	return resources
}

func line(r *api.Resource) string {
	kind := strings.TrimPrefix(fmt.Sprintf("%T", r.Body), "*api.Resource_")
	out := kind + " " + r.Name
	if r.Removed {
		return out + " removed"
	}
	switch b := r.Body.(type) {
	case *api.Resource_Endpoints:
		for _, ep := range b.Endpoints.Endpoints {
			out += " " + ep.Id
		}
	case *api.Resource_EndpointsDelta:
		for _, ep := range b.EndpointsDelta.Changed {
			out += " +" + ep.Id
		}
		for _, id := range b.EndpointsDelta.Removed {
			out += " -" + id
		}
	}
	return out
}

func (c *client) failsWith(code codes.Code, text string) {
	c.t.Helper()
	for {
		err := c.RecvMsg(&api.DiscoverResponse{})
		if err == nil {
			continue
		}
		if status.Code(err) != code || !strings.Contains(err.Error(), text) {
			c.t.Errorf("stream ended with %v, want %v and %q", err, code, text)
		}
		return
	}
}

const (
	webName    = "web.shop.svc.cluster.local:80"
	wholeRoute = "Cluster " + webName
	wholeWeb   = "Endpoints " + webName + " web-1/10.1.0.1:8080 web-2/10.1.0.2:8080"
)

// slice is shop/web's with the given addresses, which are no pod's.
func slice(addresses ...string) metav1.Object {
	name, port := "http", int32(80)
	out := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "web-x", Namespace: "shop", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
	}
	for _, address := range addresses {
		out.Endpoints = append(out.Endpoints, discoveryv1.Endpoint{Addresses: []string{address}})
	}
	return out
}

func TestSnapshotThenDeltas(t *testing.T) {
	s := startServer(t, cluster)
	close(s.gate.open)
	c := s.dial(t, s.root.source(t, "spiffe://cluster.local/ns/shop/sa/web", "web-1"))
	if w := c.hello(); w.GetKind() != "deployment" || w.GetName() != "web" || w.GetPod() != "web-1" {
		t.Errorf("known as %v", w)
	}
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
	c.wants("Cluster "+webName+" removed", "Endpoints "+webName+" removed", "Route authority/web removed")

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
		kind := []api.Kind{api.Kind_CLUSTER, api.Kind_ENDPOINTS, api.Kind_ROUTE}[i]
		held = append(held, &api.Held{Kind: kind, Name: r.Name, Version: r.Version})
	}

	same := s.proxy(t)
	same.subscribe(key, held...)
	same.wants() // nothing differs, and it is told so
	same.cancel()

	s.apply(t, slice("192.0.2.1"))
	keeper.wants("EndpointsDelta " + webName + " +192.0.2.1:80")
	behind := s.proxy(t)
	behind.subscribe(key, held...)
	behind.wants("EndpointsDelta " + webName + " +192.0.2.1:80")
	behind.cancel()

	held[1].Version = strings.Repeat("0", 2*versionBytes)
	stranger := s.proxy(t)
	stranger.subscribe(key, held...)
	stranger.wants("Endpoints " + webName + " 192.0.2.1:80 web-1/10.1.0.1:8080 web-2/10.1.0.2:8080")
}

// Every replica gives the same versions, whatever the order in which it learnt the state.
func TestVersionsAreEqualOnReplicas(t *testing.T) {
	objects := objectsOf(t, cluster)
	versions := func(s *State) (out []string) {
		s.read(testMesh(), func(v *view) {
			for _, q := range []question{{address: "10.96.0.10:80", namespace: "shop"}, {cluster: clusterRef{service: nameOf(objects[2]), port: 80}}} {
				for _, r := range v.compute(q).seal().resources {
					out = append(out, r.version)
				}
			}
		})
		return out
	}
	one, two := NewState(), NewState()
	for i := range objects {
		if err := one.Apply(Change{Set: objects[i : i+1]}); err != nil {
			t.Fatal(err)
		}
		if err := two.Apply(Change{Set: objects[len(objects)-1-i : len(objects)-i]}); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := versions(one), versions(two); fmt.Sprint(a) != fmt.Sprint(b) || len(a) != 3 {
		t.Errorf("versions are %v and %v", a, b)
	}
}

// A proxy that reads nothing holds up nobody, and gets the latest when it reads again, not each step.
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
		{Key: &api.Key_InboundPort{InboundPort: 0}}, {Key: &api.Key_InboundPort{InboundPort: 65536}},
	} {
		c.subscribe(key)
		if invalid := c.next().GetInvalid(); invalid == nil || invalid.Reason == "" || api.KeyString(invalid.Key) != api.KeyString(key) {
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
		"a pod that does not exist":  {id: "spiffe://cluster.local/ns/shop/sa/web", pod: "web-9", code: codes.PermissionDenied, text: "no pod shop/web-9"},
		"a pod of another account":   {id: "spiffe://cluster.local/ns/shop/sa/web", pod: "web-2", code: codes.PermissionDenied, text: "runs as service account web"},
		"a pod of another namespace": {id: "spiffe://cluster.local/ns/other/sa/web", pod: "web-1", code: codes.PermissionDenied, text: "no pod other/web-1"},
		"no Hello":                   {id: "spiffe://cluster.local/ns/shop/sa/web", pod: "web-1", first: &api.DiscoverRequest{}, code: codes.InvalidArgument, text: "must be Hello"},
		"another trust domain":       {id: "spiffe://elsewhere/ns/shop/sa/web", pod: "web-1", code: codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			src := s.root.source(t, c.id, c.pod)
			conn, err := grpc.NewClient(s.addr, grpc.WithTransportCredentials(credentials.NewTLS(
				spiffe.ClientConfig(src, spiffeid.RequireFromString(serverID), []string{"h2"}, ""))))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			stream, err := conn.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/tulle.destination.v1.Destination/Discover")
			if err == nil {
				if c.first != nil {
					err = stream.SendMsg(c.first)
				}
				for err == nil {
					err = stream.RecvMsg(&api.DiscoverResponse{})
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
