package destination

import (
	"fmt"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// What one change costs of a service with 1,000 pods, however many proxies watch it.
func BenchmarkEndpoints1000(b *testing.B) {
	objects := objectsOf(b, cluster)
	state := stateOf(b, cluster)
	for s := range 10 {
		name, port := "http", int32(8080)
		slice := &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Name: fmt.Sprint("web-", s), Namespace: "shop", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
			AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &port}},
		}
		for i := range 100 {
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("192.0.%d.%d", s, i)}})
		}
		if err := state.Apply(Change{Set: append(objects[:0:0], slice)}); err != nil {
			b.Fatal(err)
		}
	}
	h, w := newHub(state, testMesh()), newWatcher()
	c := h.watch(question{cluster: clusterRef{service: types.NamespacedName{Namespace: "shop", Name: "web"}, port: 80}}, w)
	b.ReportAllocs()
	for b.Loop() {
		h.compute(c)
	}
}
