package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	authentication "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/destination/files"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/injector"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/viz"
)

var meshDomain = spiffeid.RequireTrustDomainFromString("cluster.local")

// serveAs is what a child does until its standard input ends: it is one server. Only the API server
// is not real.
func serveAs(name, dir string) error {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin) // its end is the parent's
		cancel()
	}()
	run, ok := map[string]func(context.Context, string) error{
		"identity": serveIdentity, "dev": serveDev, "destination": serveDestination,
		"injector": serveInjector, "viz": serveViz,
	}[name]
	if !ok {
		return fmt.Errorf("no server is called %q", name)
	}
	return run(ctx, dir)
}

var childLog = slog.New(slog.NewTextHandler(os.Stderr,
	&slog.HandlerOptions{Level: slog.LevelError}))

// say tells the parent that the server listens, once it does.
func say(r childReady) error {
	for _, addr := range r.Addresses {
		for until := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			c, err := net.Dial("tcp", addr)
			if err == nil {
				c.Close()
				break
			}
			if time.Now().After(until) {
				return err
			}
		}
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// certificate is what the parent has made for a server.
func certificate(dir, name string) (*spiffe.Source, error) {
	svid, err := x509svid.Load(certFile(dir, name), keyFile(dir, name))
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(rootsFile(dir))
	if err != nil {
		return nil, err
	}
	return sourceOf(svid, text)
}

// sourceOf trusts the roots in text.
func sourceOf(svid *x509svid.SVID, text []byte) (*spiffe.Source, error) {
	roots, err := spiffe.ParseRoots(text)
	if err != nil {
		return nil, err
	}
	src := spiffe.NewSource()
	src.SetSVID(svid)
	src.SetBundle(meshDomain, roots)
	return src, nil
}

// identityToken is what the API server that identity asks knows as the honest caller's.
const identityToken = "honest"

func serveIdentity(ctx context.Context, _ string) error {
	client := fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}})
	client.PrependReactor("create", "tokenreviews", reviewToken)
	r := childReady{Addresses: map[string]string{"tls": loopback.Free(), "health": loopback.Free()}}
	done := make(chan error, 1)
	go func() {
		done <- identity.Run(ctx, identity.Config{
			Client: client, Listen: r.Addresses["tls"],
			HealthListen: r.Addresses["health"], Log: childLog,
		})
	}()
	for r.Roots == "" {
		time.Sleep(10 * time.Millisecond)
		m, err := client.CoreV1().ConfigMaps("tulle").Get(ctx, names.TrustConfigMap,
			metav1.GetOptions{})
		if err == nil {
			for _, text := range m.Data {
				r.Roots = text
			}
		}
	}
	go forget(ctx, client)
	return errors.Join(say(r), <-done)
}

// forget clears what a fake remembers of every call: an API server is not in our memory.
func forget(ctx context.Context, client *fake.Clientset) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			client.ClearActions()
		case <-ctx.Done():
			return
		}
	}
}

func reviewToken(a clienttesting.Action) (bool, runtime.Object, error) {
	review := a.(clienttesting.CreateAction).GetObject().(*authentication.TokenReview).DeepCopy()
	review.Status = authentication.TokenReviewStatus{
		Authenticated: review.Spec.Token == identityToken, Audiences: review.Spec.Audiences,
		User: authentication.UserInfo{Username: "system:serviceaccount:hostile:victim",
			Extra: map[string]authentication.ExtraValue{
				"authentication.kubernetes.io/pod-name": {"dev"},
				"authentication.kubernetes.io/pod-uid":  {"1"},
			}},
	}
	return true, review, nil
}

// serveDev is what `meshctl dev` runs in one process.
func serveDev(ctx context.Context, dir string) error {
	dev, err := identity.NewDev(identity.DevConfig{TrustDomain: meshDomain, Log: childLog})
	if err != nil {
		return err
	}
	on, r, err := listenAt("tls", "destination", "viz", "queries")
	if err != nil {
		return err
	}
	done := make(chan error, 3)
	go func() { done <- dev.Serve(ctx, on["tls"]) }()
	src, err := dev.Source(ctx, serverOf("destination"))
	if err != nil {
		return err
	}
	d := destination.New(destination.Config{
		Source: &files.Source{Dir: dir + "/objects", Log: childLog}, Identity: src, Log: childLog,
		Mesh: destination.Mesh{
			TrustDomain: meshDomain, ClusterDomain: "cluster.local", LocalMesh: true,
		},
	})
	go func() { done <- d.Serve(ctx, on["destination"]) }()
	if src, err = dev.Source(ctx, serverOf("viz")); err != nil {
		return err
	}
	v := viz.New(viz.Config{Source: src, TrustDomain: meshDomain, Log: childLog})
	go func() { done <- v.Serve(ctx, on["viz"], on["queries"]) }()
	if err := r.certify(ctx, dev); err != nil {
		return err
	}
	return errors.Join(say(r), <-done, <-done, <-done)
}

// certify lets dev's identity sign for those who call its servers.
func (r *childReady) certify(ctx context.Context, dev *identity.Dev) error {
	r.Roots, r.Token = string(dev.Roots()), dev.Token(workload("victim"), "dev")
	r.Certificates, r.Keys = map[string]string{}, map[string]string{}
	for name, id := range map[string]spiffeid.ID{
		"victim": workload("victim"), "attacker": attackerID,
	} {
		src, err := dev.Source(ctx, id)
		if err != nil {
			return err
		}
		cert, key, err := src.SVID().Marshal()
		if err != nil {
			return err
		}
		r.Certificates[name], r.Keys[name] = string(cert), string(key)
	}
	return nil
}

func serveDestination(ctx context.Context, dir string) error {
	src, err := certificate(dir, "destination")
	if err != nil {
		return err
	}
	r := childReady{Addresses: map[string]string{
		"tls": loopback.Free(), "queries": loopback.Free(), "health": loopback.Free(),
	}}
	done := make(chan error, 1)
	go func() {
		done <- destination.Run(ctx, destination.Config{
			Source:   &files.Source{Dir: dir + "/objects", Log: childLog},
			Identity: src, Log: childLog,
			Mesh: destination.Mesh{TrustDomain: meshDomain, ClusterDomain: "cluster.local"},
		}, destination.Listen{
			Proxies: r.Addresses["tls"], Queries: r.Addresses["queries"],
			Health: r.Addresses["health"],
		})
	}()
	return errors.Join(say(r), <-done)
}

// listenAt opens a listener for each name.
func listenAt(names ...string) (map[string]net.Listener, childReady, error) {
	r, all := childReady{Addresses: map[string]string{}}, map[string]net.Listener{}
	for _, name := range names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, r, err
		}
		all[name], r.Addresses[name] = l, l.Addr().String()
	}
	return all, r, nil
}

// tapNonce lets attackers tap.
const tapNonce = "attackers"

func serveViz(ctx context.Context, dir string) error {
	src, err := certificate(dir, "viz")
	if err != nil {
		return err
	}
	on, r, err := listenAt("tls", "queries", "health")
	if err != nil {
		return err
	}
	health := serve.NewHealth()
	v := viz.New(viz.Config{
		Source: src, TrustDomain: meshDomain, Log: childLog, Metrics: health.Metrics,
		TapSessions: true,
	})
	v.SetSessions([]viz.Session{{Name: "attackers", Hash: sha256.Sum256([]byte(tapNonce))}})
	done := make(chan error, 2)
	go func() { done <- v.Serve(ctx, on["tls"], on["queries"]) }()
	go func() { done <- health.Serve(ctx, on["health"]) }()
	return errors.Join(say(r), <-done, <-done)
}

func serveInjector(ctx context.Context, dir string) error {
	src, err := certificate(dir, "injector")
	if err != nil {
		return err
	}
	on, r, err := listenAt("tls", "health")
	if err != nil {
		return err
	}
	client := fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "hostile"}},
		&admissionv1.MutatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: injector.WebhookName},
		})
	go forget(ctx, client)
	done := make(chan error, 1)
	go func() {
		done <- injector.Run(ctx, injector.Server{
			Config: injector.Config{
				Version: "v1", TrustDomain: "cluster.local", Namespace: "tulle", ProxyImage: "p",
			},
			Source: src, Client: client, Listen: on["tls"], Health: on["health"], Log: childLog,
		})
	}()
	return errors.Join(say(r), <-done)
}

func workload(name string) spiffeid.ID {
	return spiffeid.RequireFromString("spiffe://cluster.local/ns/hostile/sa/" + name)
}

func serverOf(name string) spiffeid.ID {
	return spiffeid.RequireFromString("spiffe://cluster.local/ns/tulle/sa/tulle-" + name)
}
