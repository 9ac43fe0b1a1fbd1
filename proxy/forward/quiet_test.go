package forward

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/header"
	"github.com/tulle-mesh/tulle/proxy/wire"
)

// twoHops is a caller's connection to its proxy, and that proxy's to the application's, both in
// memory.
func twoHops(t *testing.T, acts ...act) *h2.Conn {
	b := &backends{acts: acts, unread: len(acts), listeners: map[string]*listener{}}
	b.serve(t, "app:80")
	callee, caller := newHarness(t), newHarness(t)
	callee.DialPlain = b.dial
	in := callee.session.Port(80)
	callee.say(&api.Resource{Kind: api.Kind_KIND_INBOUND,
		Name: api.KeyString(&api.Key{Key: &api.Key_InboundPort{InboundPort: 80}}),
		Body: &api.Resource_Inbound{Inbound: &api.Inbound{Port: 80,
			Protocol: api.Protocol_PROTOCOL_DETECT, Mode: api.Mode_MODE_PERMISSIVE,
			DefaultAction: api.Action_ACTION_ALLOW, Reach: api.Reach_REACH_CHOSEN}}})
	caller.DialMesh = func(context.Context, *balance.Endpoint, string) (*wire.Conn, error) {
		near, far := net.Pipe()
		c := callee.Inbound(&discover.Arrival{Port: in, App: in.Application("app:80"),
			Caller: authorize.Caller{ID: "spiffe://cluster.local/ns/shop/sa/client"}})
		serveInMemory(callee, c, far)
		return wire.New(near, nil), nil
	}
	caller.update()
	caller.say(&api.Resource{Kind: api.Kind_KIND_ENDPOINTS, Name: "web",
		Body: &api.Resource_Endpoints{Endpoints: &api.Endpoints{Endpoints: []*api.Endpoint{{
			Id: "web-0", Address: "app:80", MeshAddress: "app:4143", TargetPort: 80,
			Identity: "spiffe://cluster.local/ns/shop/sa/web",
			Protocol: api.Protocol_PROTOCOL_DETECT}}}}})
	near, far := net.Pipe()
	serveInMemory(caller, caller.web(), far)
	client := h2.NewClient(wire.New(near, nil), h2.Options{})
	client.Start(func(error) {})
	t.Cleanup(func() { client.Close(h2.CodeNone) })
	return client
}

func serveInMemory(h *harness, c *ServerConn, nc net.Conn) {
	c.Speak(wire.New(nc, nil), nil, false)
	h.Serve(c, func() {})
}

// heard is what a caller hears of a gRPC stream: messages, and at last its status.
type heard chan string

func (h heard) OnHeaders(fields []hpack.HeaderField, end bool) {
	if end {
		h <- "status " + header.Value(fields, "grpc-status")
	}
}

func (h heard) OnData(p []byte, end bool)      { h <- string(p) }
func (h heard) OnReset(code uint32, err error) { h <- err.Error() }
func (h heard) OnSent(int)                     {}

// A gRPC stream on which neither side says anything for an hour is as good as on the first day,
// over two hops and with both halves open.
func TestAGRPCStreamMayBeQuietForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := twoHops(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("content-type", "application/grpc")
			w.Header().Set("trailer", "grpc-status")
			io.WriteString(w, "first")
			w.(http.Flusher).Flush()
			if pause(r, time.Hour/time.Millisecond) {
				io.WriteString(w, "last")
				w.Header().Set("grpc-status", "0")
			}
		})
		h, began := make(heard, 4), time.Now()
		_, err := client.OpenStream([]hpack.HeaderField{{Name: ":method", Value: "POST"},
			{Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "web"},
			{Name: ":path", Value: "/x.Y/Watch"}, {Name: "te", Value: "trailers"},
			{Name: "content-type", Value: "application/grpc"}}, false, h)
		check(t, err)
		client.Flush()
		for _, want := range []string{"first", "last", "status 0"} {
			if got := <-h; got != want {
				t.Fatalf("after %v: %q, want %q", time.Since(began), got, want)
			}
		}
		if quiet := time.Since(began); quiet < time.Hour {
			t.Errorf("it was quiet for %v only", quiet)
		}
	})
}
