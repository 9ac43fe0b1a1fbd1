package contract

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/await"
)

const override = `
apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: a.shop.svc.cluster.local, namespace: shop}
spec:
  dstOverrides: [{authority: a, weight: 1}, {authority: spare, weight: 1}]
`

// What destination has removed a proxy does not hold, nor name when it comes back: an endpoint, a
// cluster that a route no longer names, the route of a target that was forgotten with all that it
// needed, and a port that nothing is behind.
func TestWhatIsRemovedIsForgotten(t *testing.T) {
	w := newTown(t)
	w.service("a", "192.0.2.1", "192.0.2.2")
	w.service("b", "192.0.2.3")
	w.service("spare", "192.0.2.4")
	w.apply(override)
	limits := config.DefaultLimits()
	limits.MaxTargets = 2
	s := w.session(w.addr, limits)
	await.True(t, "a is split", func() bool { return s.endpoints("a") == 3 })
	await.True(t, "b is known", func() bool { return s.endpoints("b") == 1 })

	w.service("a", "192.0.2.2")
	await.True(t, "the endpoint is gone", func() bool { return s.endpoints("a") == 2 })

	profile := &registry.Policy{
		Meta: registry.Meta{Namespace: "shop", Name: "a." + "shop.svc.cluster.local"},
		Kind: "ServiceProfile",
	}
	w.owner.Apply(registry.Change{Delete: []registry.Object{profile}})
	await.True(t, "the cluster is gone", func() bool { return s.endpoints("a") == 1 })

	s.to("a")
	w.service("c", "192.0.2.5")
	await.True(t, "c is known",
		func() bool { return s.endpoints("c") == 1 }) // and b was used least
	const last = 300
	for port := uint16(1); port <= last; port++ { // of which 256 are kept
		s.Port(port)
	}
	s.settle(last, last+1, last+2)

	ledger := newScript(w.mesh)
	s.move(ledger.addr)
	got := await.Receive(t, "the session says what it holds", ledger.resumed).names()
	ports := slices.DeleteFunc(slices.Clone(got), func(n string) bool { return n[:7] != "inbound" })
	rest := slices.DeleteFunc(got, func(n string) bool { return n[:7] == "inbound" })
	want := []string{
		"cluster a.shop.svc.cluster.local:80", "cluster c.shop.svc.cluster.local:80",
		"endpoints a.shop.svc.cluster.local:80", "endpoints c.shop.svc.cluster.local:80",
		"route authority/a.shop.svc.cluster.local:80",
		"route authority/c.shop.svc.cluster.local:80",
	}
	if !slices.Equal(rest, want) {
		t.Errorf("held are\n%q, want\n%q", rest, want)
	}
	if len(ports) != 256 || slices.Contains(ports, "inbound inbound/1") {
		t.Errorf("%d ports are held, want the last 256", len(ports))
	}
}

// A set of endpoints that is larger than any message comes in parts, and so does the news of many
// at once; both arrive whole.
func TestMoreEndpointsThanAMessageHolds(t *testing.T) {
	const many, each = 18157, 231 // 4 MiB
	w := newTown(t)
	crowd := func(network byte) []string {
		out := make([]string, 0, many)
		for i := range many {
			out = append(out, netip.AddrFrom4([4]byte{10, network, byte(i >> 8), byte(i)}).String())
		}
		return out
	}
	w.pods(t, each, crowd(1))
	w.pods(t, each, crowd(2))
	w.service("big", crowd(1)...)
	s := w.session(w.addr, config.DefaultLimits())
	await.True(t, "all endpoints arrive", func() bool { return s.endpoints("big") == many })

	news := append(crowd(2)[:many/2], crowd(1)[many/2:]...)
	w.service("big", append(news, "192.0.2.1")...)
	await.True(t, "the news of half of them arrive",
		func() bool { return s.endpoints("big") == many+1 })
	if resets := w.figure("tulle_destination_refusals_total"); resets != 0 {
		t.Errorf("%v streams ended", resets)
	}
}

// pods makes workloads at these addresses, with proxies, whose endpoints have so many bytes each.
func (w *town) pods(t *testing.T, size int, addresses []string) {
	t.Helper()
	var set []registry.Object
	meshed := registry.NewLabels(map[string]string{"tulle.dev/mesh": "tulle"})
	for _, a := range addresses {
		addr := netip.MustParseAddr(a)
		pod := &registry.Workload{
			Meta:           meta("pod-" + strings.ReplaceAll(a, ".", "-")),
			ServiceAccount: "web", HasProxy: true, Kind: "deployment",
			Addresses: []netip.Addr{addr},
		}
		pod.Labels = meshed
		pod.Owner = strings.Repeat("o", size-endpointSize(pod))
		set = append(set, pod)
	}
	w.owner.Apply(registry.Change{Set: set})
}

// endpointSize is what a pod's endpoint takes on the wire, without its workload's name.
func endpointSize(pod *registry.Workload) int {
	app := netip.AddrPortFrom(pod.Addresses[0], 8080).String()
	return proto.Size(&api.Endpoint{
		Id: pod.Name + "/" + app, Address: app, TargetPort: 8080,
		MeshAddress: netip.AddrPortFrom(pod.Addresses[0], 4143).String(),
		Identity:    workloadID("web").String(), Protocol: api.Protocol_PROTOCOL_DETECT,
		Workload: &api.Workload{Namespace: "shop", Kind: pod.Kind, Name: "o", Pod: pod.Name},
	}) - len("o")
}

// A proxy that uses as many targets as it may, and holds as much as it may say, comes back to
// destination: it says so in messages of bounded size, and is told what has changed.
func TestAProxyThatHoldsAsMuchAsItMayComesBack(t *testing.T) {
	// 4,096 routes and 14,336 clusters with their endpoints
	const profiles, shares = 165, 10240 + 165
	limits := config.DefaultLimits()
	w := newTown(t)
	var set []registry.Object
	for i := range limits.MaxTargets {
		set = append(set,
			&registry.Service{Meta: meta(numbered(i)), Ports: []registry.ServicePort{{Number: 80}}})
	}
	for i := range profiles {
		set = append(set, split(numbered(i), i, (shares+profiles-1-i)/profiles))
	}
	w.owner.Apply(registry.Change{Set: set})
	s := w.session(w.addr, limits)
	for i := range limits.MaxTargets {
		s.to(numbered(i))
	}
	await.True(t, "every target is answered", func() bool {
		for i := range limits.MaxTargets {
			if s.to(numbered(i)).Now() == nil {
				return false
			}
		}
		return true
	})
	s.settle(1, 2, 3) // three resources more than it may name

	ledger := newScript(w.mesh)
	s.move(ledger.addr)
	got := await.Receive(t, "the session says what it holds", ledger.resumed)
	if len(got.held) != api.MaxHeld || got.largest > api.MaxRequest {
		t.Errorf("%d resources are held, and a message of %d bytes says so; "+
			"want %d, and at most %d",
			len(got.held), got.largest, api.MaxHeld, api.MaxRequest)
	}
	before := w.figure("tulle_destination_messages_total")
	w.service(numbered(limits.MaxTargets-1), "192.0.2.1")
	s.move(w.addr)
	await.True(t, "the change arrives",
		func() bool { return s.endpoints(numbered(limits.MaxTargets-1)) == 1 })
	if n := w.figure("tulle_destination_messages_total") - before; n > 10 {
		t.Errorf("%v messages are sent for one change", n)
	}
	w.service(numbered(0), "192.0.2.1") // the stream lives
	w.owner.Apply(registry.Change{Delete: []registry.Object{split(numbered(0), 0, 1)}})
	await.True(t, "the next change arrives", func() bool { return s.endpoints(numbered(0)) == 1 })
	if n := w.figure("tulle_destination_refusals_total"); n != 0 {
		t.Errorf("%v streams were ended", n)
	}
}

func numbered(i int) string { return fmt.Sprintf("svc-%d", i) }

// split is a profile of a service that shares its requests among names that nothing has, each of
// which is a cluster of its own.
func split(service string, generation, shares int) *registry.Policy {
	p := &crd.ServiceProfile{}
	p.Namespace, p.Name = "shop", service+".shop.svc.cluster.local"
	for i := range shares {
		p.Spec.DstOverrides = append(p.Spec.DstOverrides, crd.WeightedDst{
			Authority: fmt.Sprintf("share-%d-%d", generation, i), Weight: resource.MustParse("1"),
		})
	}
	return &registry.Policy{Meta: meta(p.Name), Kind: crd.Kind, Body: p}
}

// Clusters that come and go leave nothing behind: neither a name in the proxy, nor a cell in
// destination, nor memory in either.
func TestClustersThatComeAndGoLeaveNothing(t *testing.T) {
	const rounds, shares = 79, 64 // 5,056 clusters
	w := newTown(t)
	w.service("a", "192.0.2.1")
	s := w.session(w.addr, config.DefaultLimits())
	shared := func() int {
		if a := s.to("a").Now(); a != nil {
			return len(a.Members)
		}
		return 0
	}
	churn := func(from, to int) {
		for i := from; i < to; i++ {
			w.owner.Apply(registry.Change{Set: []registry.Object{split("a", i, shares)}})
			want := fmt.Sprintf("share-%d-0:80", i)
			await.True(t, want+" is used", func() bool {
				return shared() == shares && s.to("a").Now().Members[0].Name == want
			})
		}
		w.owner.Apply(registry.Change{Delete: []registry.Object{split("a", 0, 0)}})
		await.True(t, "the service has all", func() bool { return shared() == 1 })
	}
	churn(0, 2) // what is made once is made
	before, cells := heap(), w.figure("tulle_destination_cells")
	churn(2, rounds)
	s.settle(1, 2)
	if after, more := heap(), int64(1<<20); after > before+more {
		t.Errorf("%d bytes are in use, %d before", after, before)
	}
	if n := w.figure("tulle_destination_cells"); n != cells+2 { // and two ports
		t.Errorf("%v cells are left, of %v", n, cells)
	}
	ledger := newScript(w.mesh)
	s.move(ledger.addr)
	got := await.Receive(t, "the session says what it holds", ledger.resumed).names()
	want := []string{
		"cluster a.shop.svc.cluster.local:80", "endpoints a.shop.svc.cluster.local:80",
		"inbound inbound/1", "inbound inbound/2", "route authority/a.shop.svc.cluster.local:80",
	}
	if !slices.Equal(got, want) {
		t.Errorf("held are %q, want %q", got, want)
	}
}

// heap is what is in use after a collection.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // of what finalizers kept
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
