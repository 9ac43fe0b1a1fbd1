package contract

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/await"
)

const (
	toLib = `
apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: a.shop.svc.cluster.local, namespace: shop}
spec: {dstOverrides: [{authority: lib.lib.svc.cluster.local, weight: 1}]}
`
	ofShop = `
apiVersion: tulle.dev/v1alpha1
kind: BackendTrafficPolicy
metadata: {name: lib, namespace: shop}
spec:
  targetRefs: [{kind: Service, name: lib, namespace: lib}]
  slowStart: {window: 30s}
`
)

// Callers that get a policy of their own for a Service go on with the endpoints that they have, in
// a variant of the cluster, which changes with its pods; without the policy they are back.
func TestAVariantHasTheEndpointsOfItsCluster(t *testing.T) {
	const lib = "lib.lib.svc.cluster.local:80"
	w := newTown(t)
	w.service("a", "192.0.2.1")
	w.lib("192.0.2.2", "192.0.2.3")
	w.apply(toLib)
	s := w.session(w.addr, config.DefaultLimits())
	await.True(t, "both endpoints are known", func() bool { return s.endpoints("a") == 2 })

	goesTo := func(cluster string, endpoints int) {
		t.Helper()
		await.True(t, "requests go to "+cluster, func() bool {
			return slices.Equal(s.to("a").Now().Clusters, []string{cluster})
		})
		if n := s.endpoints("a"); n != endpoints {
			t.Errorf("%s has %d endpoints, want %d", cluster, n, endpoints)
		}
	}
	goesTo(lib, 2)
	w.apply(ofShop)
	goesTo(lib+"/shop", 2)
	w.lib("192.0.2.3")
	await.True(t, "the variant loses one", func() bool { return s.endpoints("a") == 1 })
	w.owner.Apply(registry.Change{Delete: []registry.Object{&registry.Policy{
		Meta: meta("lib"), Kind: "BackendTrafficPolicy"}}})
	goesTo(lib, 1)
}

// lib is a Service of another namespace, with endpoints that are nobody's pods.
func (w *town) lib(addresses ...string) {
	name := registry.Name{Namespace: "lib", Name: "lib"}
	slice := sliceOf(name.Name, name.Name, addresses...)
	slice.Namespace, slice.Service = name.Namespace, name
	w.owner.Apply(changed(slice, &registry.Service{
		Meta: slice.Meta, Ports: []registry.ServicePort{{Number: 80}},
		Addresses: []netip.Addr{netip.MustParseAddr("127.96.0.1")},
	}))
}
