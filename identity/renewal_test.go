package identity_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	authentication "k8s.io/api/authentication/v1"
	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	kubetest "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/identity/agent"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/test/loopback"
)

const renewals = 4 // each of two processes', at one a second

var quiet = slog.New(slog.DiscardHandler)

// apiServer takes a token for the service account in the control plane's namespace that it names.
func apiServer() *fake.Clientset {
	client := fake.NewClientset(&core.Namespace{ObjectMeta: meta.ObjectMeta{Name: "tulle"}})
	react := func(a kubetest.Action) (bool, runtime.Object, error) {
		review := a.(kubetest.CreateAction).GetObject().(*authentication.TokenReview).DeepCopy()
		review.Status = authentication.TokenReviewStatus{
			Authenticated: true, Audiences: review.Spec.Audiences,
			User: authentication.UserInfo{
				Username: "system:serviceaccount:tulle:" + review.Spec.Token,
				Extra: map[string]authentication.ExtraValue{
					"authentication.kubernetes.io/pod-name": {review.Spec.Token + "-0"},
					"authentication.kubernetes.io/pod-uid":  {"1"},
				},
			},
		}
		return true, review, nil
	}
	client.PrependReactor("create", "tokenreviews", react)
	return client
}

// Run, two agents and a mutual TLS connection every few milliseconds, while every certificate in it
// lives for two seconds: identity's own, the server's and the client's. Not one handshake may fail.
func TestRenewalHasNoGap(t *testing.T) {
	client := apiServer()
	addr := loopback.Free()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	done := make(chan error, 1)
	go func() {
		done <- identity.Run(ctx, identity.Config{
			Client: client, Log: quiet, Lifetime: 2 * time.Second, Listen: addr,
			HealthListen: "127.0.0.1:0",
		})
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	trust := trustFile(t, ctx, client)
	server := startAgent(t, ctx, addr, trust, "tulle-viz")
	caller := startAgent(t, ctx, addr, trust, "tulle-destination")

	l := echo(t, server)
	cfg := spiffe.ClientConfig(caller, server.SVID().ID, []string{"h2"}, "")
	seen := map[any]bool{}
	handshakes := 0
	for ; len(seen) < 2*(renewals+1); handshakes++ {
		conn, err := tls.Dial("tcp", l, cfg)
		if err != nil {
			t.Fatalf("after %d handshakes and %d certificates: %v", handshakes, len(seen), err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatalf("after %d handshakes and %d certificates: %v", handshakes, len(seen), err)
		}
		conn.Close()
		seen[server.SVID()], seen[caller.SVID()] = true, true
	}
	t.Logf("%d handshakes over %d certificates", handshakes, len(seen))
}

func startAgent(t *testing.T, ctx context.Context, addr, trust, account string) *spiffe.Source {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(account+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	src, err := agent.Start(ctx, agent.Config{
		ID: serverID(account), IdentityID: serverID("tulle-identity"), IdentityAddr: addr,
		TokenFile: token, TrustFile: trust, Log: quiet,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := src.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	return src
}

func serverID(account string) spiffeid.ID {
	return spiffeid.RequireFromString("spiffe://cluster.local/ns/tulle/sa/" + account)
}

// trustFile is what a pod would have mounted: the ConfigMap, once identity has made it.
func trustFile(t *testing.T, ctx context.Context, client *fake.Clientset) string {
	t.Helper()
	w, err := client.CoreV1().ConfigMaps("tulle").Watch(ctx, meta.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	m, err := client.CoreV1().ConfigMaps("tulle").Get(ctx, names.TrustConfigMap, meta.GetOptions{})
	if err != nil {
		select {
		case change := <-w.ResultChan():
			m = change.Object.(*core.ConfigMap)
		case <-ctx.Done():
			t.Fatal("no trust bundle in the namespace")
		}
	}
	name := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(name, []byte(m.Data["ca.crt"]), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// echo accepts any mesh peer, and sends it one byte.
func echo(t *testing.T, src *spiffe.Source) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0",
		spiffe.ServerConfig(src, []string{"h2"}, spiffe.AnyPeer))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			conn.Write([]byte{1})
			conn.Read(make([]byte, 1)) // until the client closes
			conn.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}
