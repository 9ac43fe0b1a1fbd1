package proxy_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
)

// byName is a pod's proxy, and a peer with an SVID that chooses ports of it by a server name.
type byName struct {
	*testMesh
	web           pod
	proxy         *running
	named, hidden string // ports of applications: a Service has the one, nothing the other
}

func newByName(t *testing.T, hidden string) *byName {
	m := &byName{testMesh: newMesh(t, 0)}
	m.limits.NameGrace = time.Millisecond
	portOf := func(addr string) string { _, port, _ := net.SplitHostPort(addr); return port }
	named := app(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	m.named, m.hidden = portOf(named), portOf(hidden)
	m.web = pod{"web-0", named, loopback.Free()}
	m.service("web", m.web)
	r, env := m.describe("web", m.web)
	env[config.EnvInboundApps] += "," + m.hidden + "=" + hidden
	r.p, r.stop = m.run(env)
	m.ready(r.admin)
	m.proxy = r
	return m
}

// dial opens a connection of the mesh that chooses a port.
func (m *byName) dial(port, alpn string) (net.Conn, error) {
	c, err := m.dialMesh("client", m.web.mesh, port+config.SNISuffix, alpn, workloadID("web"))
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(await.Limit))
}

// client asks for a port's application over HTTP.
func (m *byName) client(port string) *http.Client {
	c := http2Client(m.t)
	c.Transport.(*http.Transport).DialContext =
		func(context.Context, string, string) (net.Conn, error) {
			return m.dial(port, config.ALPNHTTP)
		}
	return c
}

// call asks for a port's application over gRPC.
func (m *byName) call(port string) error {
	m.t.Helper()
	cc, err := grpc.NewClient("passthrough:///web",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (net.Conn, error) {
			return m.dial(port, config.ALPNHTTP)
		}))
	check(m.t, err)
	defer cc.Close()
	_, err = testgrpc.NewTestServiceClient(cc).EmptyCall(m.t.Context(), &testgrpc.Empty{})
	return err
}

// echoes reports whether a port's application gives back what nobody understands.
func (m *byName) echoes(port string) bool {
	m.t.Helper()
	c, err := m.dial(port, config.ALPNTCP)
	check(m.t, err)
	defer c.Close()
	io.WriteString(c, "\x00opaque") // an error is an answer
	n, _ := c.Read(make([]byte, 1))
	return n > 0
}

// name makes the pod's container declare the hidden port, or not.
func (m *byName) name(declared bool) {
	m.t.Helper()
	without, with := "{name: app}", "{name: app, ports: [{containerPort: "+m.hidden+"}]}"
	if declared {
		m.edit("service-web.yaml", without, with)
	} else {
		m.edit("service-web.yaml", with, without)
	}
}

func unreached(t *testing.T) string {
	return app(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("an application was reached that nothing names")
	}))
}

// Through the inbound port a peer reaches what a Service or a containerPort of the pod names, and
// nothing else that listens there: a NetworkPolicy that has allowed the inbound port sees no other.
func TestPeersReachNamedPortsOnly(t *testing.T) {
	m := newByName(t, unreached(t))
	if status, body, _ := get(t, m.client(m.named), "http://web/"); status != 200 {
		t.Fatalf("the port that a Service names: %d %s", status, body)
	}
	status, _, header := get(t, m.client(m.hidden), "http://web/")
	why := header.Get("Tulle-Error")
	said := strings.Contains(why, m.hidden) && strings.Contains(why, "containerPort")
	if status != 403 || !said {
		t.Errorf("a port that nothing names: %d, %q", status, why)
	}
}

func TestAnUnnamedPortCarriesNothingOpaque(t *testing.T) {
	m := newByName(t, echo(t))
	if m.echoes(m.hidden) {
		t.Error("a port that nothing names carries an opaque connection")
	}
	_, page, _ := get(t, http1Client(t), "http://"+m.proxy.admin+"/metrics")
	if !counts(page, "tulle_connections_refused_total", "policy") {
		t.Errorf("the refusal is not counted:\n%s", page)
	}
	m.name(true)
	await.True(t, "the port is named", func() bool { return m.echoes(m.hidden) })
}

func TestAnUnnamedPortIsPermissionDeniedInGRPC(t *testing.T) {
	m := newByName(t, unreached(t))
	err := m.call(m.hidden)
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), m.hidden) {
		t.Errorf("got %v, want PERMISSION_DENIED and the port", err)
	}
}

// A port that the pod comes to name is reached from then on, without a restart, and one whose last
// name is gone no longer, by the connections that are open either.
func TestNamesOfPortsComeAndGo(t *testing.T) {
	m := newByName(t, app(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	c := m.client(m.hidden)
	is := func(want int) func() bool {
		return func() bool { status, _, _ := get(t, c, "http://web/"); return status == want }
	}
	await.True(t, "the port is refused", is(403))
	m.name(true)
	await.True(t, "the pod's own word counts", is(200))
	m.name(false)
	await.True(t, "the word is taken back", is(403))
}
