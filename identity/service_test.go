package identity

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metricsmodel "github.com/prometheus/client_model/go"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
	authentication "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	kubetest "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/identity/api"
	"github.com/tulle-mesh/tulle/identity/api/identitygrpc"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/output"
)

const (
	testAudience = "identity.tulle.dev/cluster.local"
	// goodToken would be a secret: it must not be found in any log or error.
	goodToken = "eyJhbGciOi.good.token"
)

var identityID = identityIDOf("cluster.local")

// reviewed is what the API server says of a token that was projected into a pod.
func reviewed(change func(*authentication.TokenReviewStatus)) authentication.TokenReviewStatus {
	s := authentication.TokenReviewStatus{
		Authenticated: true, Audiences: []string{testAudience},
		User: authentication.UserInfo{
			Username: "system:serviceaccount:shop:web",
			Extra: map[string]authentication.ExtraValue{
				podNameKey: {"web-7d9f"}, podUIDKey: {"0123"},
			},
		},
	}
	if change != nil {
		change(&s)
	}
	return s
}

// cluster is a client-go fake that reviews tokens; only the API server is not real in these tests.
func cluster(
	reviews map[string]authentication.TokenReviewStatus, objects ...runtime.Object,
) *fake.Clientset {
	client := fake.NewClientset(objects...)
	react := func(a kubetest.Action) (bool, runtime.Object, error) {
		review := a.(kubetest.CreateAction).GetObject().(*authentication.TokenReview).DeepCopy()
		if got := review.Spec.Audiences; len(got) != 1 || got[0] != testAudience {
			return true, nil, errors.New("asked for the wrong audience")
		}
		s, ok := reviews[review.Spec.Token]
		if !ok {
			return true, nil, errors.New("no route to the API server for " + review.Spec.Token)
		}
		review.Status = s
		return true, review, nil
	}
	client.PrependReactor("create", "tokenreviews", react)
	return client
}

// running is identity as it serves, over real TCP, TLS and gRPC.
type running struct {
	*server
	client *fake.Clientset
	addr   string
	log    *output.Buffer
	stop   func()
}

func start(t *testing.T, client *fake.Clientset, life time.Duration) *running {
	t.Helper()
	log := &output.Buffer{}
	cfg := Config{Client: client, Lifetime: life,
		Log: slog.New(slog.NewTextHandler(log, nil))}.withDefaults()
	s, err := newServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, health := listen(t), listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.run(ctx, l, health) }()
	r := &running{server: s, client: client, addr: l.Addr().String(), log: log}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	t.Cleanup(r.stop)
	if _, err := s.authority.source.Wait(timeout(t)); err != nil {
		t.Fatal(err)
	}
	return r
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// timeout bounds what waits on something that happens at once when all is well.
func timeout(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func (r *running) dial(t *testing.T) *grpc.ClientConn {
	t.Helper()
	return dial(t, r.addr,
		spiffe.BootstrapClientConfig(r.authority.source.Bundles()[td], identityID, []string{"h2"}))
}

func dial(t *testing.T, addr string, cfg *tls.Config) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func certify(
	t *testing.T, conn *grpc.ClientConn, req *api.CertifyRequest,
) (*api.CertifyResponse, error) {
	t.Helper()
	return identitygrpc.NewIdentityClient(conn).Certify(timeout(t), req)
}

func byToken(token, expected string, csr []byte) *api.CertifyRequest {
	return &api.CertifyRequest{
		Attestation: &api.CertifyRequest_KubernetesToken{KubernetesToken: token},
		ExpectedId:  expected, Csr: csr,
	}
}

func TestCertify(t *testing.T) {
	r := start(t, cluster(map[string]authentication.TokenReviewStatus{goodToken: reviewed(nil)}),
		time.Hour)
	key := newKey(t)
	resp, err := certify(t, r.dial(t), byToken(goodToken, webID.String(), request(t, key, nil)))
	if err != nil {
		t.Fatal(err)
	}
	roots, err := spiffe.ParseAuthorities(resp.Authorities)
	if err != nil {
		t.Fatal(err)
	}
	src := spiffe.NewSource()
	src.SetBundle(td, roots)
	peer, err := verifyRaw(resp.Certificates, src)
	if err != nil || peer.ID != webID || peer.Pod != "web-7d9f" ||
		!key.PublicKey.Equal(peer.Leaf.PublicKey) {
		t.Fatalf("certified %+v, %v", peer, err)
	}
	text := r.log.String()
	if strings.Contains(text, goodToken) || !strings.Contains(text, "certificate issued") {
		t.Errorf("the log: %s", text)
	}
}

func TestCertifyRefuses(t *testing.T) {
	reviews := map[string]authentication.TokenReviewStatus{
		goodToken:         reviewed(nil),
		"unauthenticated": {Error: "token expired"},
		"not ours": reviewed(func(s *authentication.TokenReviewStatus) {
			s.Audiences = []string{"https://kubernetes.default.svc"}
		}),
		"no audience": reviewed(func(s *authentication.TokenReviewStatus) { s.Audiences = nil }),
		"two audiences": reviewed(func(s *authentication.TokenReviewStatus) {
			s.Audiences = append(s.Audiences, "other")
		}),
		"unbound": reviewed(func(s *authentication.TokenReviewStatus) { s.User.Extra = nil }),
		"no uid": reviewed(
			func(s *authentication.TokenReviewStatus) { delete(s.User.Extra, podUIDKey) }),
		"two pods": reviewed(func(s *authentication.TokenReviewStatus) {
			s.User.Extra[podNameKey] = authentication.ExtraValue{"a", "b"}
		}),
		"a user": reviewed(func(s *authentication.TokenReviewStatus) { s.User.Username = "admin" }),
		"a node": reviewed(
			func(s *authentication.TokenReviewStatus) { s.User.Username = "system:node:shop:web" }),
		"bare names": reviewed(
			func(s *authentication.TokenReviewStatus) { s.User.Username = "shop:web" }),
		"odd names": reviewed(
			func(s *authentication.TokenReviewStatus) { s.User.Username += ":x" }),
	}
	r := start(t, cluster(reviews), time.Hour)
	conn := r.dial(t)
	good := request(t, newKey(t), nil)
	type refusal struct {
		req  *api.CertifyRequest
		code codes.Code
		want string
	}
	table := map[string]refusal{
		"nothing": {&api.CertifyRequest{}, codes.InvalidArgument, "expected_id"},
		"no token": {byToken("", webID.String(), good), codes.InvalidArgument,
			"no Kubernetes token"},
		"huge token": {byToken(strings.Repeat("x", maxToken+1), webID.String(), good),
			codes.InvalidArgument, "at most"},
		"huge request": {byToken(strings.Repeat("x", api.MaxRequest+1), webID.String(), good),
			codes.ResourceExhausted, "more than 16384"},
		"join token": {&api.CertifyRequest{
			Attestation: &api.CertifyRequest_JoinToken{JoinToken: goodToken},
			ExpectedId:  webID.String(), Csr: good,
		}, codes.InvalidArgument, "no Kubernetes token"},
		"bad expected ID": {byToken(goodToken, "web.shop", good), codes.InvalidArgument,
			"expected_id"},
		"another ID": {byToken(goodToken, apiID.String(), good), codes.PermissionDenied,
			webID.String() + ", the caller expects to be " + apiID.String()},
		"identity's ID": {byToken(goodToken, identityID.String(), good), codes.PermissionDenied,
			"expects to be " + identityID.String()},
		"API server away": {byToken("unreviewed", webID.String(), good), codes.Unavailable,
			"no route to the API server for (the token)"},
	}
	for token, want := range map[string]string{
		"unauthenticated": "token expired", "not ours": "audiences",
		"no audience": "audiences", "two audiences": "audiences", "unbound": "bound to no pod",
		"no uid": "bound to no pod", "two pods": "bound to no pod",
		"a user": "not a service account", "a node": "not a service account",
		"odd names": "not a service account", "bare names": "not a service account",
	} {
		table["token "+token] = refusal{byToken(token, webID.String(), good),
			codes.Unauthenticated, want}
	}
	for name, bad := range badRequests(t) {
		table["CSR "+name] = refusal{byToken(goodToken, webID.String(), bad.csr),
			codes.InvalidArgument, bad.want}
	}
	for name, c := range table {
		t.Run(name, func(t *testing.T) {
			resp, err := certify(t, conn, c.req)
			if status.Code(err) != c.code || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s %q", err, c.code, c.want)
			}
			if len(resp.GetCertificates()) != 0 {
				t.Error("and yet a certificate")
			}
		})
	}
	text := r.log.String()
	if strings.Contains(text, goodToken) || strings.Contains(text, "unreviewed") {
		t.Errorf("a token is in the log: %s", text)
	}
}

// Two services answer on the port; there is no third, and no plaintext.
func TestGarbageOnThePort(t *testing.T) {
	r := start(t, cluster(nil), time.Hour)
	for _, junk := range []string{
		"", "\x00", "GET / HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"\x16\x03\x01\xff\xff",
	} {
		nc, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Fatal(err)
		}
		nc.Write([]byte(junk))
		nc.Close()
	}
	conn := r.dial(t)
	err := conn.Invoke(timeout(t), "/"+identitygrpc.Identity_ServiceDesc.ServiceName+"/Sign",
		&api.CertifyRequest{}, &api.CertifyResponse{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("an unknown method: %v", err)
	}
}

func TestOneSourceIsLimited(t *testing.T) {
	r := start(t, cluster(nil), time.Hour)
	conn := r.dial(t)
	for i := range perSourceBurst + 20 {
		_, err := certify(t, conn, &api.CertifyRequest{})
		if status.Code(err) == codes.ResourceExhausted {
			if i < perSourceBurst {
				t.Errorf("refused call %d already", i)
			}
			return
		}
	}
	t.Error("no limit")
}

func TestBundlesFollowTheRoots(t *testing.T) {
	r := start(t, cluster(nil), time.Hour)
	stream := bundleStream(t, r.dial(t))
	first := receive(t, stream)
	if len(first) != 1 || !first[0].Equal(r.authority.issuer.Load().cert) {
		t.Fatalf("first answer has %d roots", len(first))
	}
	next := ownIssuer(t)
	r.authority.source.SetBundle(td, append(first, next.roots...))
	if both := receive(t, stream); len(both) != 2 {
		t.Fatalf("%d roots after one was added", len(both))
	}
	r.stop()
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("at the end: %v", err)
	}
}

type bundlesStream = grpc.ServerStreamingClient[api.BundlesResponse]

func bundleStream(t *testing.T, conn *grpc.ClientConn) bundlesStream {
	t.Helper()
	s, err := identitygrpc.NewIdentityClient(conn).Bundles(timeout(t), &api.BundlesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func receive(t *testing.T, s bundlesStream) []*x509.Certificate {
	t.Helper()
	resp, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Bundles) != 1 || resp.Bundles[0].TrustDomain != td.Name() {
		t.Fatalf("bundles: %v", resp)
	}
	roots, err := spiffe.ParseAuthorities(resp.Bundles[0].Authorities)
	if err != nil {
		t.Fatal(err)
	}
	return roots
}

// A stream of Bundles is counted before its caller has said anything, and does not outlive its
// silence.
func TestSilentStreamsAreCounted(t *testing.T) {
	r := start(t, cluster(nil), time.Hour)
	ended := make(chan error, maxCallsPerSource+1)
	var conn *grpc.ClientConn
	for i := range maxCallsPerSource + 1 {
		if i%int(connectionLimits.Streams) == 0 {
			conn = r.dial(t)
		}
		desc := &identitygrpc.Identity_ServiceDesc.Streams[0]
		s, err := conn.NewStream(t.Context(), desc, identitygrpc.Identity_Bundles_FullMethodName)
		if err != nil {
			t.Fatal(err)
		}
		go func() { ended <- s.RecvMsg(&api.BundlesResponse{}) }()
	}
	// The server may see the last one before another.
	err := await.Receive(t, "one stream too many of one address is refused", ended)
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one stream too many of one address ended with %v", err)
	}
	if n := r.service.admission.openCalls(); n != maxCallsPerSource {
		t.Errorf("%v calls are counted, want %d", n, maxCallsPerSource)
	}
}

// The server's interceptors see every call: one of them ends calls whose message does not come, and
// has to be told that it came.
func TestEveryCallPassesTheInterceptors(t *testing.T) {
	r := start(t, cluster(nil), time.Hour)
	conn := r.dial(t)
	certify(t, conn, &api.CertifyRequest{})
	receive(t, bundleStream(t, conn))
	families, err := r.health.Metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var started []string
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "grpc_server_started_total" {
				started = append(started, labelOf(m, "grpc_method"))
			}
		}
	}
	slices.Sort(started)
	if want := []string{"Bundles", "Certify"}; !slices.Equal(started, want) {
		t.Errorf("the interceptors have seen %v, want %v", started, want)
	}
}

func labelOf(m *metricsmodel.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}
