package proxy_test

import (
	"slices"
	"testing"

	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/viz"
)

// What viz is asked about endpoints it asks the proxy that calls them, which alone knows.
func TestVizHearsHowEndpointsAreDoing(t *testing.T) {
	m := newMesh(t, 0)
	client := viz.NewClient(m.realViz())
	good, bad := &replica{}, &replica{}
	bad.failing.Store(true)
	pods := []pod{{"web-0", app(t, good), loopback.Free()}, {"web-1", app(t, bad), loopback.Free()}}
	m.service("web", pods...)
	for _, p := range pods {
		m.proxy("web", p)
	}
	m.write("policy.yaml", `apiVersion: tulle.dev/v1alpha1
kind: BackendTrafficPolicy
metadata: {name: web, namespace: shop}
spec:
  targetRefs: [{kind: Service, name: web}]
  loadBalancer: {type: RoundRobin}
  outlierDetection: {consecutiveFailures: 3, baseEjectionTime: 30s}
`)
	caller := m.caller("web")
	defer pull(t, "http://"+caller.out["web"])()
	var got *viz.Endpoints
	await.True(t, "one endpoint is ejected", func() (is bool) {
		var err error
		got, err = client.Endpoints(t.Context(), viz.Query{Resource: "svc/web", Namespace: "shop"})
		check(t, err)
		return slices.ContainsFunc(got.Rows, func(r viz.EndpointRow) bool {
			return r.Pod == "web-1" && r.State == "ejected" && r.Until != nil
		})
	})
	at := slices.IndexFunc(got.Rows, func(r viz.EndpointRow) bool { return r.Pod == "web-0" })
	if at < 0 || len(got.Rows) != 2 || len(got.Silent) != 0 || got.Asked != 1 {
		t.Fatalf("viz says %+v", got)
	}
	r := got.Rows[at]
	if r.Proxy != "shop/client-0" || r.Service != "shop/web:80" || r.Address != pods[0].app ||
		r.State != "ready" || r.Until != nil || r.EWMAMs == nil || *r.EWMAMs <= 0 ||
		r.Weight != 1 {
		t.Errorf("the one that works is %+v", r)
	}
	of, err := client.Endpoints(t.Context(), viz.Query{Resource: "pod/web-1", Namespace: "shop"})
	check(t, err)
	if len(of.Rows) != 1 || of.Rows[0].Pod != "web-1" {
		t.Errorf("of one pod viz says %+v", of)
	}
}
