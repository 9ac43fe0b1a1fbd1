package injector

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/tulle-mesh/tulle/identity/spiffe"
)

// authority is a root that makes the injector's certificate as identity does: one SPIFFE ID, and
// the Service's DNS name.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	td := spiffeid.RequireTrustDomainFromString("cluster.local")
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Minute),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, URIs: []*url.URL{td.ID().URL()},
	}
	cert, key := sign(t, template, nil)
	return authority{cert, key}
}

func (a authority) svid(t *testing.T) *x509svid.SVID {
	t.Helper()
	id := spiffeid.RequireFromString("spiffe://cluster.local/ns/tulle/sa/tulle-injector")
	cert, key := sign(t, &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Minute),
		NotAfter: time.Now().Add(time.Hour), URIs: []*url.URL{id.URL()},
		DNSNames: []string{"tulle-injector.tulle.svc"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, &a)
	return &x509svid.SVID{ID: id, Certificates: []*x509.Certificate{cert}, PrivateKey: key}
}

func sign(
	t *testing.T, template *x509.Certificate, by *authority,
) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// The API server's view: the caBundle in the configuration verifies the server by its Service's
// name, before and after a change of roots.
func TestRunServesWhatItsCABundleVerifies(t *testing.T) {
	client := fake.NewClientset(shop(nil), &admissionv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: WebhookName},
		Webhooks:   []admissionv1.MutatingWebhook{{Name: "a"}, {Name: "b"}},
	})
	writes, err := client.AdmissionregistrationV1().MutatingWebhookConfigurations().Watch(
		t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	source, td := spiffe.NewSource(), spiffeid.RequireTrustDomainFromString("cluster.local")
	s := Server{
		Config: testConfig(), Source: source, Client: client, Listen: listen(t), Health: listen(t),
		Log: slog.New(slog.DiscardHandler), linger: time.Nanosecond,
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, s) }()
	for range 2 {
		root := newAuthority(t)
		source.SetSVID(root.svid(t))
		source.SetBundle(td, []*x509.Certificate{root.cert})
		bundle := written(t, writes, root)
		answer := postTLS(t, s.Listen.Addr().String(), bundle, review(t, `{}`, nil))
		if !strings.Contains(answer, `"patchType":"JSONPatch"`) {
			t.Errorf("answer: %s", answer)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// written waits until both webhooks have the root.
func written(t *testing.T, writes watch.Interface, root authority) []byte {
	t.Helper()
	want := bundlePEM([]*x509.Certificate{root.cert})
	for event := range writes.ResultChan() {
		config := event.Object.(*admissionv1.MutatingWebhookConfiguration)
		if bytes.Equal(config.Webhooks[0].ClientConfig.CABundle, want) &&
			bytes.Equal(config.Webhooks[1].ClientConfig.CABundle, want) {
			return want
		}
	}
	t.Fatal("the watch ended")
	return nil
}

func postTLS(t *testing.T, addr string, bundle []byte, body string) string {
	t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle)
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool, ServerName: "tulle-injector.tulle.svc"},
		ForceAttemptHTTP2: true,
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	resp, err := client.Post("https://"+addr+WebhookPath, "application/json",
		strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out bytes.Buffer
	if _, err := out.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestNotReadyWithoutRoots(t *testing.T) {
	td := spiffeid.RequireTrustDomainFromString("cluster.local")
	b := newBundleKeeper(Server{Source: spiffe.NewSource(), Client: fake.NewClientset(),
		Log: slog.New(slog.DiscardHandler)}, td)
	if b.ready() == nil {
		t.Error("ready before it looked")
	}
	b.note(t.Context(), b.sync(t.Context()))
	if err := b.ready(); err == nil || !strings.Contains(err.Error(), "no trust roots") {
		t.Errorf("ready: %v", err)
	}
	root := newAuthority(t)
	b.source.SetBundle(td, []*x509.Certificate{root.cert})
	b.note(t.Context(), b.sync(t.Context()))
	if err := b.ready(); err == nil || !strings.Contains(err.Error(), WebhookName) {
		t.Errorf("without a configuration: %v", err)
	}
}
