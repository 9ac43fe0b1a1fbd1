package forward

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"golang.org/x/net/http2/hpack"
)

// The reader of a connection learns of a port anew while others ask what its application speaks,
// for requests that came before.
func TestAPortThatIsLearnedAnewIsAskedMeanwhile(t *testing.T) {
	p := newHarness(t)
	in := p.session.Port(8080)
	for other := uint16(10000); !in.Gone(); other++ { // a scan
		p.session.Port(other)
	}
	p.session.Port(8080)
	p.say(&api.Resource{Kind: api.Kind_KIND_INBOUND,
		Name: api.KeyString(&api.Key{Key: &api.Key_InboundPort{InboundPort: 8080}}),
		Body: &api.Resource_Inbound{Inbound: &api.Inbound{Port: 8080,
			Protocol: api.Protocol_PROTOCOL_DETECT, Mode: api.Mode_MODE_PERMISSIVE,
			DefaultAction: api.Action_ACTION_ALLOW, Reach: api.Reach_REACH_DIALED}}})
	c := p.Inbound(&discover.Arrival{Port: in, App: in.Application("127.0.0.1:1")})
	fields := []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":path", Value: "/"}}
	before := &exchange{c: c, req: fields}
	if _, refusal := before.admit(); refusal != nil {
		t.Fatal(refusal.Reason)
	}
	if c.side.(*toApplication).port == in {
		t.Fatal("the port was not learned anew")
	}
	app := c.side.(*toApplication).app.First()
	var others sync.WaitGroup
	others.Go(func() {
		for range 100 {
			before.inHTTP1(app)
		}
	})
	for range 100 {
		(&exchange{c: c, req: fields}).admit()
	}
	others.Wait()
}

// Callers without an identity do not choose how many series there are.
func TestUnauthenticatedAddressesAreBounded(t *testing.T) {
	p := newHarness(t)
	in := p.session.Port(8080)
	cell := func(addr string) *metric.Cell {
		s := &toApplication{f: p.Forwarder, number: 8080,
			caller: authorize.Caller{Address: netip.MustParseAddr(addr)}}
		return p.Metrics.Cell(s.label(in.Now().Fallback, "tcp"))
	}
	known := cell("10.0.0.1")
	for i := range 5000 {
		cell(fmt.Sprintf("10.1.%d.%d", i/256, i%256))
	}
	if n := p.Metrics.Dropped(); n > 0 {
		t.Errorf("%d series were dropped: none is left for the mesh's own", n)
	}
	if cell("10.0.0.1") != known {
		t.Error("an address that was known is no more")
	}
}
