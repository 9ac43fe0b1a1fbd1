package destination

import (
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/kube"
)

func TestProfile(t *testing.T) {
	const servers = `
apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: web.shop.svc.cluster.local, namespace: shop}
spec:
  routes:
  - name: read
    condition: {method: GET, pathRegex: "/a/[^/]*", not: {any: [{pathRegex: /a/b}, {method: HEAD}]}}
    isRetryable: true
    hedge: {after: 50ms}
    timeout: 1500us
    responseClasses:
    - {condition: {status: {min: 500}}, isFailure: true}
    - {condition: {all: [{status: {max: 499}}, {not: {status: {min: 404, max: 404}}}]}}
  retryBudget: {retryRatio: 0.5, minRetriesPerSecond: 0}`
	const clients = `
apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: web.shop.svc.cluster.local, namespace: other}
spec: {routes: [{name: mine, condition: {method: GET}}]}`
	const invalid = `
apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: web.shop.svc.cluster.local, namespace: other}
spec: {routes: [{name: mine}]}`
	reg := registryOf(t, cluster, servers, clients)
	route := func(namespace string) *api.Route {
		var out *api.Route
		testMesh().read(reg, func(v *view) {
			q := caller{namespace: namespace}.question(authority("web.shop"))
			out = v.compute(q).resources[0].snapshot.GetRoute()
		})
		return out
	}

	const want = `origin:{group:"tulle.dev" ` +
		`kind:"ServiceProfile" namespace:"shop" name:"web.shop.svc.cluster.local" rule:"read"} ` +
		`match:{all:{matches:{method:"GET"} matches:{path:{regex:"/a/[^/]*"}} ` +
		`matches:{not:{any:{matches:{path:{regex:"/a/b"}} matches:{method:"HEAD"}}}}}} ` +
		`timeouts:{request_ms:2} retry:{} ` +
		`response_classes:{match:{status:{min:500 max:599}} failure:true} ` +
		`response_classes:{match:{all:{matches:{status:{min:100 max:499}} ` +
		`matches:{not:{status:{min:404 max:404}}}}}} hedge:{after_ms:50}`
	r := route("shop")
	if got := strings.Join(strings.Fields(r.Http[0].String()), " "); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if b := r.RetryBudget; b.RetryRatio != 0.5 || b.MinRetriesPerSecond != 0 || b.TtlMs != 10_000 {
		t.Errorf("budget is %v", b)
	}
	if r := route("other"); r.Http[0].Origin.Rule != "mine" || r.RetryBudget.RetryRatio != 0.2 ||
		r.RetryBudget.MinRetriesPerSecond != 10 {
		t.Errorf("the caller's own profile does not win: %v", r)
	}
	if r := route("third"); r.Http[0].Origin.Rule != "read" {
		t.Errorf("a third namespace gets %v", r)
	}

	docs, err := crd.Documents("f.yaml", []byte(invalid))
	if err != nil {
		t.Fatal(err)
	}
	profile := &crd.ServiceProfile{}
	if err := docs[0].Decode(profile); err != nil {
		t.Fatal(err)
	}
	apply(reg, kube.FindPolicyKind(crd.Kind).Convert(profile))
	if r := route("other"); r.Http[0].Origin.Rule != "read" {
		t.Errorf("an invalid profile counts: %v", r)
	}
}
