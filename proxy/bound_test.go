package proxy

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/rpc"
)

// What is held is said once a stream: a proxy with a thousand targets would otherwise say a million things.
func TestWhatIsHeldIsSaidOnceAStream(t *testing.T) {
	d := idleProxy(t).discovery
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range 100 {
		name := fmt.Sprintf("web-%d", i)
		d.applyResources([]*api.Resource{{Kind: api.Kind_KIND_ENDPOINTS, Name: name, Version: "1",
			Body: &api.Resource_Endpoints{Endpoints: &api.Endpoints{}}}})
		d.targets.Add(name, &target{key: &api.Key{Key: &api.Key_Authority{Authority: name}}})
	}
	for range 2 { // streams
		d.begin(&rpc.Stream{})
		held := 0
		for _, m := range d.outbox {
			held += len(m.GetResume().GetHeld())
		}
		if len(d.outbox) != 101 || held != 100 || !d.outbox[100].GetResume().GetLast() {
			t.Errorf("%d requests name %d resources, want 100 subscriptions and one that names 100", len(d.outbox), held)
		}
	}
	d.stream = nil
}

// Callers without an identity do not choose how many series there are.
func TestUnauthenticatedAddressesAreBounded(t *testing.T) {
	p := idleProxy(t)
	in := p.discovery.inbound(8080)
	known := p.metrics.Cell(testLabels(p, in, "10.0.0.1"))
	for i := range 5000 {
		p.metrics.Cell(testLabels(p, in, fmt.Sprintf("10.1.%d.%d", i/256, i%256)))
	}
	if n := p.metrics.Dropped(); n > 0 {
		t.Errorf("%d series were dropped: none is left for the mesh's own", n)
	}
	if p.metrics.Cell(testLabels(p, in, "10.0.0.1")) != known {
		t.Error("an address that was known is no more")
	}
}

func testLabels(p *Proxy, in *inboundPort, addr string) metric.Labels {
	c := &serverConn{p: p, inbound: true, port: in, number: 8080, caller: caller{address: netip.MustParseAddr(addr)}}
	return c.inboundLabels(in.policy.Load().route.fallback, "tcp")
}
