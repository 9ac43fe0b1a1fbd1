package destination

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
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

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/api/destinationgrpc"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/test/await"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// root signs whatever a test asks of it; the real CA, which refuses, is tested in identity.
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
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	return &root{key, sign(t, template, template, key.Public(), key)}
}

func sign(
	t testing.TB, template, parent *x509.Certificate, public any, key *ecdsa.PrivateKey,
) *x509.Certificate {
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
	s.SetSVID(&x509svid.SVID{ID: spiffeid.RequireFromString(id),
		Certificates: []*x509.Certificate{cert}, PrivateKey: key})
	s.SetBundles(spiffe.Bundles{
		spiffeid.RequireTrustDomainFromString("cluster.local"): {r.cert},
		spiffeid.RequireTrustDomainFromString("elsewhere"):     {r.cert},
	})
	return s
}

// gate is a Source that a test fills by hand, and that is synced when the test says so.
type gate struct {
	registry chan *registry.Registry
	open     chan struct{}
}

func (g *gate) Missing() error { return errors.New("the test has not opened the gate") }

func (g *gate) Run(ctx context.Context, reg *registry.Registry, synced func()) error {
	g.registry <- reg
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
	return startLimited(t, connectionLimits, documents...)
}

// startLimited has limits that a test can exceed.
func startLimited(t testing.TB, limits serve.Limits, documents ...string) *server {
	t.Helper()
	s := &server{root: newRoot(t)}
	s.start(t, *testMesh(), limits, documents...)
	return s
}

// startReplica is one of several, in a pod of destination's.
func startReplica(t testing.TB, r *root, pod string, documents ...string) *server {
	t.Helper()
	s, mesh := &server{root: r}, testMesh()
	mesh.Replica = registry.Name{Namespace: "tulle", Name: pod}
	s.start(t, *mesh, connectionLimits, documents...)
	close(s.gate.open)
	return s
}

func (s *server) start(t testing.TB, mesh Mesh, limits serve.Limits, documents ...string) {
	t.Helper()
	s.gate = &gate{make(chan *registry.Registry, 1), make(chan struct{})}
	s.identity = s.root.source(t, serverID, "")
	s.Destination = New(Config{Mesh: mesh, Source: s.gate, Identity: s.identity,
		Log: slog.New(slog.DiscardHandler)})
	s.limits = limits
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
	<-s.gate.registry
	for _, obj := range objectsOf(t, documents...) {
		s.apply(t, obj)
	}
}

func (s *server) apply(t testing.TB, objects ...registry.Object) {
	t.Helper()
	s.registry.Owner("test").Apply(registry.Change{Set: objects})
}

// client is a proxy's end of a stream.
type client struct {
	t testing.TB
	grpc.BidiStreamingClient[api.DiscoverRequest, api.DiscoverResponse]
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
	ctx, cancel := context.WithTimeout(context.Background(), await.Limit)
	t.Cleanup(cancel)
	stream, err := destinationgrpc.NewDestinationClient(conn).Discover(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &client{t, stream, cancel}
}

// proxy connects as shop/web's pod and says Hello.
func (s *server) proxy(t testing.TB) *client {
	t.Helper()
	c := s.resuming(t)
	c.resume()
	return c
}

// resuming is a proxy that has yet to say what it holds.
func (s *server) resuming(t testing.TB) *client {
	t.Helper()
	c := s.dial(t, s.root.source(t, "spiffe://cluster.local/ns/shop/sa/web", "web-1"))
	c.hello()
	return c
}

func (c *client) say(req *api.DiscoverRequest) {
	c.t.Helper()
	if err := c.Send(req); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) hello(capabilities ...string) *api.Workload {
	c.t.Helper()
	c.say(&api.DiscoverRequest{Message: &api.DiscoverRequest_Hello{
		Hello: &api.Hello{Version: "test", Capabilities: capabilities}}})
	return c.next().GetWelcome().GetWorkload()
}

func (c *client) subscribe(key *api.Key) {
	c.t.Helper()
	c.say(&api.DiscoverRequest{
		Message: &api.DiscoverRequest_Subscribe{Subscribe: &api.Subscribe{Key: key}}})
}

// resume names all that is held.
func (c *client) resume(held ...*api.Held) {
	c.t.Helper()
	c.say(resume(true, held...))
}

func resume(last bool, held ...*api.Held) *api.DiscoverRequest {
	return &api.DiscoverRequest{
		Message: &api.DiscoverRequest_Resume{Resume: &api.Resume{Held: held, Last: last}},
	}
}

func (c *client) unsubscribe(key *api.Key) {
	c.t.Helper()
	c.say(&api.DiscoverRequest{
		Message: &api.DiscoverRequest_Unsubscribe{Unsubscribe: &api.Unsubscribe{Key: key}}})
}

func (c *client) next() *api.DiscoverResponse {
	c.t.Helper()
	resp, err := c.Recv()
	if err != nil {
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
	kind := kindName(r.Kind)
	kind = strings.ToUpper(kind[:1]) + kind[1:]
	if r.GetEndpointsDelta() != nil {
		kind += "Delta"
	}
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
		_, err := c.Recv()
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
func slice(addresses ...string) *registry.Slice {
	out := &registry.Slice{
		Meta:    registry.Meta{Namespace: "shop", Name: "web-x"},
		Service: registry.Name{Namespace: "shop", Name: "web"}, Family: registry.IPv4,
		Ports: []registry.NamedPort{{Name: "http", Number: 80}},
	}
	for _, text := range addresses {
		out.Endpoints = append(out.Endpoints,
			registry.Endpoint{Address: netip.MustParseAddr(text), Ready: true})
	}
	return out
}
