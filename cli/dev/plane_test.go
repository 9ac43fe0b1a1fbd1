package dev

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/api/destinationgrpc"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/viz"
)

// asker is a proxy as far as destination can tell.
type asker struct {
	t      *testing.T
	stream grpc.BidiStreamingClient[api.DiscoverRequest, api.DiscoverResponse]
	held   map[string]*api.Resource
}

func ask1(t *testing.T, p *plane, id string) *asker {
	t.Helper()
	src, err := p.dev.Source(p.ctx, spiffeid.RequireFromString(id))
	if err != nil {
		t.Fatal(err)
	}
	cfg := spiffe.ClientConfig(src, spiffeid.RequireFromString(serverID(names.Destination)),
		[]string{"h2"}, "")
	conn, err := grpc.NewClient(p.destinationAddr,
		grpc.WithTransportCredentials(credentials.NewTLS(cfg)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	stream, err := destinationgrpc.NewDestinationClient(conn).Discover(ctx, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	a := &asker{t, stream, map[string]*api.Resource{}}
	a.send(&api.DiscoverRequest{
		Message: &api.DiscoverRequest_Hello{Hello: &api.Hello{Version: "test"}}})
	a.send(
		&api.DiscoverRequest{Message: &api.DiscoverRequest_Resume{Resume: &api.Resume{Last: true}}})
	return a
}

func (a *asker) send(m *api.DiscoverRequest) {
	a.t.Helper()
	if err := a.stream.Send(m); err != nil {
		a.t.Fatal(err)
	}
}

func (a *asker) subscribe(authority string) {
	a.t.Helper()
	key := &api.Key{Key: &api.Key_Authority{Authority: authority}}
	a.send(&api.DiscoverRequest{
		Message: &api.DiscoverRequest_Subscribe{Subscribe: &api.Subscribe{Key: key}}})
}

// until receives until a resource, of these or earlier ones, satisfies.
func (a *asker) until(what string, satisfies func(*api.Resource) bool) {
	a.t.Helper()
	for !slices.ContainsFunc(slices.Collect(maps.Values(a.held)), satisfies) {
		m, err := a.stream.Recv()
		if err != nil {
			a.t.Fatalf("waiting for %s: %v", what, err)
		}
		for _, r := range m.GetResources().GetResources() {
			a.held[fmt.Sprintf("%T %s", r.Body, r.Name)] = r
		}
	}
}

const profileText = `apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: payments.shop.svc.cluster.local, namespace: shop}
spec:
  dstOverrides:
  - {authority: payments-v1.shop.svc.cluster.local, weight: 90}
  - {authority: payments-v2.shop.svc.cluster.local, weight: WEIGHT}
`

// What Up writes is what destination understands: names resolve, endpoints have their proxies, and
// a user's profile applies, also after an edit.
func TestPlaneAnswersFromWrittenObjects(t *testing.T) {
	objects, profiles := t.TempDir(), t.TempDir()
	pl := mustPlan(t, true, smallMesh)
	if err := writeObjects(objects, pl); err != nil {
		t.Fatal(err)
	}
	// identity.Dev calls the pod of a Source in its own process "dev"; destination believes only
	// pods that exist.
	me, err := podObject("shop",
		&Instance{Name: "dev", Service: "web", Workload: "web", App: "127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := writeYAML(filepath.Join(objects, "dev.yaml"), me); err != nil {
		t.Fatal(err)
	}
	writeProfile(t, profiles, "10")
	var p *plane
	await.Return(t, "the control plane's start", func() {
		p, err = startPlane(t.Context(), inputs{folders: []string{objects, profiles}}, quiet)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer await.Return(t, "the control plane's end", func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	})
	a := ask1(t, p, identityOf("shop", "web"))
	v2 := pl.behind("payments-v2")[0]
	a.subscribe("payments.shop.svc.cluster.local:80")
	a.until("the route to payments",
		func(r *api.Resource) bool { return canary(r.GetRoute()) == 10 })
	a.subscribe("payments-v2.shop.svc.cluster.local:80")
	a.until("payments-v2's endpoint", func(r *api.Resource) bool {
		return len(r.GetEndpoints().GetEndpoints()) == 1 &&
			isMeshed(r.GetEndpoints().Endpoints[0], v2)
	})
	writeProfile(t, profiles, "50")
	a.until("the edited route", func(r *api.Resource) bool { return canary(r.GetRoute()) == 50 })
	old := pl.behind("old")[0]
	a.subscribe("old.shop.svc.cluster.local:80")
	a.until("old's endpoint", func(r *api.Resource) bool {
		eps := r.GetEndpoints().GetEndpoints()
		return len(eps) == 1 && eps[0].Address == old.Relay && eps[0].MeshAddress == "" &&
			eps[0].Identity == "" && eps[0].Protocol == api.Protocol_PROTOCOL_HTTP2
	})
	checkRestarts(t, p)
}

func isMeshed(ep *api.Endpoint, i *Instance) bool {
	port, _ := portOf(i.App)
	return ep.MeshAddress == i.Relay && ep.Address == i.App && ep.Identity == i.ID &&
		int(ep.TargetPort) == port && ep.Workload.GetKind() == "deployment" &&
		ep.Workload.GetName() == i.Workload
}

func canary(r *api.Route) uint32 {
	for _, b := range r.GetBackends() {
		if b.Cluster == "payments-v2.shop.svc.cluster.local:80" {
			return b.Weight / 1000 // weights are quantities, in thousandths on the wire
		}
	}
	return 0
}

func writeProfile(t *testing.T, dir, weight string) {
	t.Helper()
	text := []byte(profileText[:len(profileText)-len("WEIGHT}\n")] + weight + "}\n")
	if err := replaceFile(filepath.Join(dir, "payments.yaml"), text); err != nil {
		t.Fatal(err)
	}
}

var quiet = slog.New(slog.DiscardHandler)

// A start that is interrupted, by a Ctrl-C or because it takes too long, is an error.
func TestPlaneInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	await.Return(t, "the control plane's start", func() {
		if _, err := startPlane(ctx, inputs{}, quiet); !errors.Is(err, context.Canceled) {
			t.Errorf("an interrupted start: %v", err)
		}
	})
}

// checkRestarts restarts what can be, and finds it where it was.
func checkRestarts(t *testing.T, p *plane) {
	t.Helper()
	before := p.queryAddr
	for _, name := range []string{"viz", "destination"} {
		var err error
		await.Return(t, "a restart of "+name, func() { err = p.restart(name) })
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := viz.NewClient(before).Stat(t.Context(), viz.Query{Resource: "deploy"})
	if err != nil {
		t.Errorf("viz does not answer where it did: %v", err)
	}
	ask1(t, p, identityOf("shop", "web")).subscribe("web.shop.svc.cluster.local:80")
}

// All that the demo is told is about somebody in it.
func TestTheDemoIsSound(t *testing.T) {
	m, err := Load("../../test/demo/mesh.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if warnings, err := checkProfiles(m); err != nil || len(warnings) > 0 {
		t.Errorf("%q, %v", warnings, err)
	}
	if files := profileFiles(m); len(files) == 0 {
		t.Error("it is told nothing")
	}
}

// A profile that is wrong ends Up with its line; one for nobody here is worth a warning.
func TestCheckProfiles(t *testing.T) {
	dir := t.TempDir()
	m := &Mesh{Namespace: "shop", Services: []Service{{Name: "web"}}, Profiles: []string{dir}}
	writeProfile(t, dir, "10")
	if warnings, err := checkProfiles(m); err != nil || len(warnings) != 1 {
		t.Errorf("a profile for nobody: %q, %v", warnings, err)
	}
	policy := "apiVersion: tulle.dev/v1alpha1\nkind: BackendTrafficPolicy\n" +
		"metadata: {name: p, namespace: shop}\nspec:\n  loadBalancer: {type: Random}\n" +
		"  targetRefs: [{kind: Service, name: web}, {kind: Service, name: none}, " +
		"{kind: Namespace, name: shop}]\n"
	file := filepath.Join(dir, "payments.yaml")
	if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	if warnings, err := checkProfiles(m); err != nil || len(warnings) != 1 ||
		!strings.Contains(warnings[0], "no service here is called none.shop.svc") {
		t.Errorf("a policy, one of whose targets is nobody here: %q, %v", warnings, err)
	}
	for name, text := range map[string]string{
		"unknown field": "apiVersion: tulle.dev/v1alpha1\nkind: ServiceProfile\n" +
			"metadata: {name: web.shop.svc.cluster.local}\nspec: {rotues: []}\n",
		"a policy's field": "apiVersion: tulle.dev/v1alpha1\nkind: BackendTrafficPolicy\n" +
			"metadata: {name: web}\nspec: {targetRefs: [{kind: Service, name: web}]}\n",
		"another kind": "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n",
		"not YAML":     "a: [\n",
	} {
		err := os.WriteFile(filepath.Join(dir, "payments.yaml"), []byte(text), 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := checkProfiles(m); err == nil {
			t.Errorf("%s: accepted", name)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}
}
