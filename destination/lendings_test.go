package destination

import (
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/tulle-mesh/tulle/destination/api"
)

// sharing is the proxy of a pod behind shop/web that has a part in a limit of 100 requests.
func sharing(t *testing.T, s *server, pod string) (c *client, pool string) {
	t.Helper()
	c = s.dial(t, s.root.source(t, "spiffe://cluster.local/ns/shop/sa/web", pod))
	c.hello(api.CapabilityRateLimit)
	c.resume()
	c.subscribe(&api.Key{Key: &api.Key_InboundPort{InboundPort: 8080}})
	in := c.next().GetResources().GetResources()[0].GetInbound()
	if len(in.GetLendings()) != 1 || in.RateLimits[in.Lendings[0].Limit].Requests != 50 {
		t.Fatalf("%s is told %v", pod, in)
	}
	return c, in.Lendings[0].Pool
}

func (c *client) demands(m *api.Demand) {
	c.t.Helper()
	c.say(&api.DiscoverRequest{Message: &api.DiscoverRequest_Demand{Demand: m}})
}

// shares checks what the proxy is told next.
func (c *client) shares(number, lend, borrow uint64) *api.Share {
	c.t.Helper()
	m := c.next().GetShare()
	if m.GetNumber() != number || m.GetLend() != lend || m.GetBorrow() != borrow {
		c.t.Fatalf("told %v, want number %d: lend %d, borrow %d", m, number, lend, borrow)
	}
	return m
}

// secondWeb is the second pod behind shop/web, which runs as the first one does.
const secondWeb = `{apiVersion: v1, kind: Pod, metadata: {name: web-2, namespace: shop, uid: u2,
 labels: {tulle.dev/mesh: tulle}}, spec: {serviceAccountName: web, nodeName: n2,
 containers: [{name: tulle-proxy, image: p}]},
 status: {phase: Running, podIP: 10.1.0.2, podIPs: [{ip: 10.1.0.2}]}}`

const sharedLimit = "limits: [{name: all, requests: 100, window: 1s}]"

// A proxy that needs more is told so once another has confirmed that it does with less, and that
// one has its own back once the first has confirmed that.
func TestProxiesLendEachOther(t *testing.T) {
	s := startServer(t, cluster, secondWeb, limiting("shop", "a", "web", sharedLimit))
	close(s.gate.open)
	needy, pool := sharing(t, s, "web-1")
	rich, same := sharing(t, s, "web-2")
	if pool != same {
		t.Fatalf("the two have pools %s and %s", pool, same)
	}
	needy.demands(&api.Demand{Port: 8080, Pool: pool, Sequence: 1, Wanted: 300})
	rich.demands(&api.Demand{Port: 8080, Pool: pool, Sequence: 1})
	rich.shares(1, 45, 0)
	rich.demands(&api.Demand{Port: 8080, Pool: pool, Sequence: 2, Share: 1, Lent: 45})
	m := needy.shares(1, 0, 45)
	if m.Sequence != 1 || m.BorrowMs < uint64(borrowFor.Milliseconds()) ||
		m.BorrowMs > uint64(lendFor.Milliseconds()) || m.Port != 8080 || m.Pool != pool {
		t.Errorf("told %v", m)
	}
	needy.demands(&api.Demand{Port: 8080, Pool: pool, Sequence: 2, Wanted: 300, Share: 1})

	rich.demands(&api.Demand{Port: 8080, Pool: pool, Sequence: 3, Wanted: 40, Share: 1, Lent: 45})
	needy.shares(2, 0, 0)
	needy.demands(&api.Demand{Port: 8080, Pool: pool, Sequence: 3, Wanted: 300, Share: 2})
	rich.shares(2, 0, 0)
}

// A pod has no part in a limit but its own, and one message is as bounded as another.
func TestDemandsThatAreNobodys(t *testing.T) {
	s := startServer(t, cluster, secondWeb, limiting("shop", "a", "web", sharedLimit))
	close(s.gate.open)
	needy, pool := sharing(t, s, "web-1")
	other, _ := sharing(t, s, "web-2")
	forged := strings.Repeat("f", api.PoolLen)
	for _, m := range []*api.Demand{
		{Port: 8080, Pool: forged, Sequence: 1}, {Port: 9999, Pool: pool, Sequence: 2},
	} {
		other.demands(m)
	}
	needy.demands(&api.Demand{Port: 8080, Pool: pool, Sequence: 1, Wanted: 300})
	other.demands(&api.Demand{Port: 8080, Pool: pool, Sequence: 3})
	if m := other.shares(1, 45, 0); m.Pool != pool {
		t.Errorf("told of pool %s", m.Pool)
	}
	other.demands(&api.Demand{Port: 8080, Pool: "short", Sequence: 4})
	other.failsWith(codes.InvalidArgument, "needs a pool")
}

// Pods lend each other of limits that they share and that have one bucket.
func TestWhichLimitsAreLent(t *testing.T) {
	for _, tt := range []struct{ limits, want string }{
		{"limits: [{name: a, requests: 10, window: 1s}]", "0"},
		{"limits: [{name: a, requests: 10, window: 1s, mode: PerReplica}]", ""},
		{"limits: [{name: a, requests: 10, window: 1s, by: [{identity: {}}]}]", ""},
		{"limits: [{name: a, requests: 2, window: 1s}]", ""},
		{"dryRun: true, limits: [{name: a, requests: 10, window: 1s}]", ""},
		{"limits: [{name: a, requests: 9, window: 1s, by: [{path: {}}]}, " +
			"{name: b, requests: 10, window: 1s}]", "1"},
	} {
		reg := registryOf(t, cluster, limiting("shop", "a", "web", tt.limits))
		testMesh().read(reg, func(v *view) {
			q := question{namespace: "shop", pod: "web-1", port: 8080}
			got := ""
			for _, l := range v.compute(q).resources[0].snapshot.GetInbound().GetLendings() {
				got += string('0' + rune(l.Limit))
			}
			if got != tt.want {
				t.Errorf("%s: %q are lent, want %q", tt.limits, got, tt.want)
			}
		})
	}
}
