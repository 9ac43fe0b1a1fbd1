package destination

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/tulle-mesh/tulle/destination/registry"
)

// What one change costs of a service with 1,000 pods, however many proxies watch it.
func BenchmarkEndpoints1000(b *testing.B) {
	reg := registryOf(b, cluster)
	for s := range 10 {
		var addresses []string
		for i := range 100 {
			addresses = append(addresses, netip.AddrFrom4([4]byte{192, 0, byte(s), byte(i)}).String())
		}
		next := slice(addresses...)
		next.Name = fmt.Sprint("web-", s)
		apply(reg, next)
	}
	h, w := newHub(reg, testMesh()), newWatcher()
	c := h.watch(question{cluster: clusterRef{service: registry.Name{Namespace: "shop", Name: "web"}, port: 80}}, w)
	b.ReportAllocs()
	for b.Loop() {
		h.computeLocked(c)
	}
}
