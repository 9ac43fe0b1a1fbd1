package forward

import (
	"net/netip"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/header"
)

// What a caller says of its own callers is passed on if it is a front proxy, or if nobody said
// which those are, or if it has proved who it is.
func TestFrontProxiesAreBelieved(t *testing.T) {
	const caller, id = "10.0.0.9", "spiffe://cluster.local/ns/shop/sa/front"
	said := map[string]string{"x-forwarded-for": "192.0.2.1", "x-forwarded-proto": "https",
		"x-forwarded-host": "shop.example", "forwarded": "for=192.0.2.1", "x-real-ip": "192.0.2.1"}
	passed := map[string]string{"x-forwarded-for": "192.0.2.1, " + caller,
		"x-forwarded-proto": "https", "x-forwarded-host": "shop.example",
		"forwarded": "for=192.0.2.1", "x-real-ip": "192.0.2.1"}
	for _, tt := range []struct {
		name    string
		trusted []string
		who     authorize.Caller
		want    map[string]string
	}{
		{"nobody was named", nil, authorize.Caller{}, passed},
		{"it is one of them", []string{"10.1.0.0/16", "10.0.0.0/24"}, authorize.Caller{}, passed},
		{"it is another", []string{"10.1.0.0/16"}, authorize.Caller{},
			map[string]string{"x-forwarded-for": caller, "x-forwarded-proto": "http"}},
		{"it has an identity", []string{"10.1.0.0/16"}, authorize.Caller{ID: id}, said},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newHarness(t)
			for _, s := range tt.trusted {
				p.TrustedProxies = append(p.TrustedProxies, netip.MustParsePrefix(s))
			}
			tt.who.Address = netip.MustParseAddr(caller)
			in := p.session.Port(80)
			x := newExchange(p.Inbound(&discover.Arrival{Caller: tt.who, Port: in,
				App: in.Application("127.0.0.1:1")}), newAnswers())
			fields := []hpack.HeaderField{{Name: ":method", Value: "GET"},
				{Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "web"},
				{Name: ":path", Value: "/"}}
			for name, value := range said {
				fields = append(fields, hpack.HeaderField{Name: name, Value: value})
			}
			x.takeRequest(fields)
			for name := range said {
				if got := header.Value(x.req, name); got != tt.want[name] {
					t.Errorf("%s: %q, want %q", name, got, tt.want[name])
				}
			}
		})
	}
}
