package proxy

import (
	"io"
	"net"
	"runtime/debug"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/memory"
)

// A proxy without memory takes no opaque connections either: two buffers each are more than a request needs.
func TestOpaqueConnectionsAreShedToo(t *testing.T) {
	p := idleProxy(t)
	app := serve(t, "reached")
	c := &cluster{name: "web"}
	update(c, app.Addr().String())
	conn := p.outboundTo(c)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(1))
	p.memory = memory.Gauge{} // it has not looked yet
	in := p.discovery.inbound(8080)
	inbound := &serverConn{p: p, inbound: true, port: in, number: 8080, app: backend{cluster: in.application(app.Addr().String())}}
	for name, forward := range map[string]func(net.Conn){
		"outbound": func(nc net.Conn) { p.forwardOutbound(nc, conn, words{}) },
		"inbound":  func(nc net.Conn) { p.forwardInbound(nc, inbound, words{}) },
	} {
		near, far := net.Pipe()
		check(t, near.SetDeadline(time.Now().Add(5*time.Second)))
		go func() {
			defer far.Close()
			forward(piped{far})
		}()
		if _, err := near.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: %v, want the end", name, err)
		}
		near.Close()
	}
	if n := app.n.Load(); n > 0 {
		t.Errorf("%d connections were made", n)
	}
}
