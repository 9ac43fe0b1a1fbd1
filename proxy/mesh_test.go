package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/files"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/proxy"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/output"
	"github.com/tulle-mesh/tulle/test/undrawn"
)

// testMesh is a whole mesh in one process: a real identity and a real destination on loopback, over
// files.
type testMesh struct {
	t        testing.TB
	dir      string
	trust    string
	dev      *identity.Dev
	identity string
	dest     string
	log      *slog.Logger
	destDue  bool          // it starts with the first proxy
	stopDest func()        // ends destination, and waits
	stopID   func()        // ends identity, and waits
	viz      string        // its address, if there is one
	lookUp   proxy.LookUp  // of viz's name; nil: DNS
	limits   config.Limits // of the proxies that are run next
	access   io.Writer     // their access logs
	tracing  *api.Tracing  // what they are told of it
}

// limits are what a proxy lives by, unless a test says otherwise.
var limits = config.DefaultLimits()

const trustDomain = "cluster.local"

func newMesh(t testing.TB, lifetime time.Duration) *testMesh {
	t.Helper()
	m := &testMesh{t: t, limits: limits, access: io.Discard, dir: t.TempDir(),
		trust: filepath.Join(t.TempDir(), "ca.crt"), log: testLog(t)}
	td := spiffeid.RequireTrustDomainFromString(trustDomain)
	dev, err := identity.NewDev(identity.DevConfig{TrustDomain: td, Lifetime: lifetime, Log: m.log})
	check(t, err)
	m.dev = dev
	check(t, os.WriteFile(m.trust, dev.Roots(), 0o600))
	m.write("namespace.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n")
	m.identity, m.stopID = m.background("", func(ctx context.Context, l net.Listener) error {
		return dev.Serve(ctx, l)
	})
	m.dest, m.destDue = loopback.Free(), true
	m.stopDest = func() { m.destDue = false }
	return m
}

// startDestination is called with the first proxy, unless stopDest was called before: by then a
// test has written what is to be so from the start. Destination's first answers have all of it, and
// a proxy never sees a part.
func (m *testMesh) startDestination() {
	m.destDue = false
	ctx, cancel := context.WithCancel(context.Background())
	m.t.Cleanup(cancel)
	src, err := m.dev.Source(ctx, spiffeid.RequireFromString(serverID("destination")))
	check(m.t, err)
	d := destination.New(destination.Config{
		Mesh: destination.Mesh{TrustDomain: spiffeid.RequireTrustDomainFromString(trustDomain),
			ClusterDomain: trustDomain, LocalMesh: true, Tracing: m.tracing,
			Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		Source: &files.Source{Dir: m.dir, Log: m.log}, Identity: src, Log: m.log})
	m.dest, m.stopDest = m.background(m.dest, d.Serve)
}

// background serves on loopback until the test ends, or stop is called.
func (m *testMesh) background(
	addr string, serve func(context.Context, net.Listener) error,
) (string, func()) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	check(m.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		if err := serve(ctx, l); err != nil && ctx.Err() == nil {
			m.t.Errorf("a server ended: %v", err)
		}
	})
	stop := sync.OnceFunc(func() {
		cancel()
		await.Return(m.t, "the server on "+l.Addr().String()+" has ended", done.Wait)
	})
	m.t.Cleanup(stop)
	return l.Addr().String(), stop
}

func serverID(name string) string {
	return "spiffe://" + trustDomain + "/ns/tulle/sa/tulle-" + name
}

func workloadID(name string) string { return "spiffe://" + trustDomain + "/ns/shop/sa/" + name }

func authority(service string) string { return service + ".shop.svc.cluster.local:80" }

// write puts a file where destination reads, whole.
func (m *testMesh) write(name, text string) {
	m.t.Helper()
	tmp := filepath.Join(m.t.TempDir(), name)
	check(m.t, os.WriteFile(tmp, []byte(text), 0o600))
	check(m.t, os.Rename(tmp, filepath.Join(m.dir, name)))
}

// pod is an instance of a service: an application's address, and a proxy's unless it is unmeshed.
type pod struct {
	name, app, mesh string
}

// service describes a service and what is behind it.
func (m *testMesh) service(name string, pods ...pod) {
	m.t.Helper()
	m.declare(name, "", pods...)
}

// declare is service, of which somebody has said what it speaks.
func (m *testMesh) declare(name, appProtocol string, pods ...pod) {
	m.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nkind: Service\nmetadata: {namespace: shop, name: %s}\n"+
		"spec: {clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9], "+
		"ports: [{name: p, port: 80, protocol: TCP, appProtocol: %q}]}\n", name, appProtocol)
	for _, p := range pods {
		host, port, _ := net.SplitHostPort(p.app)
		fmt.Fprintf(&b, `---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: shop, name: %[1]s-%[2]s, labels: {kubernetes.io/service-name: %[1]s}}
addressType: IPv4
ports: [{name: p, port: %[3]s, protocol: TCP}]
endpoints: [{addresses: [%[4]s], conditions: {ready: true}, `+
			`targetRef: {kind: Pod, namespace: shop, name: %[2]s}}]
`, name, p.name, port, host)
		b.WriteString(podYAML(name, p))
	}
	m.write("service-"+name+".yaml", b.String())
}

func podYAML(account string, p pod) string {
	if p.mesh == "" {
		return fmt.Sprintf("---\napiVersion: v1\nkind: Pod\n"+
			"metadata: {namespace: shop, name: %s}\n"+
			"spec: {serviceAccountName: %s, containers: [{name: app}]}\n"+
			"status: {phase: Running, podIP: 127.0.0.1, podIPs: [{ip: 127.0.0.1}]}\n",
			p.name, account)
	}
	return fmt.Sprintf(`---
apiVersion: v1
kind: Pod
metadata:
  namespace: shop
  name: %s
  labels: {tulle.dev/mesh: tulle}
  annotations: {tulle.dev/mesh-address: "%s"}
spec: {serviceAccountName: %s, containers: [{name: app}], `+
		`initContainers: [{name: tulle-proxy, restartPolicy: Always}]}
status: {phase: Running, podIP: 127.0.0.1, podIPs: [{ip: 127.0.0.1}]}
`, p.name, p.mesh, account)
}

// running is a workload's proxy: its own addresses and, by service, those that its application
// dials.
type running struct {
	inbound, admin string
	out            map[string]string
	p              *proxy.Proxy
	stop           func() error
}

// proxy runs one. An upstream is a service of the mesh's, or NAME=AUTHORITY.
func (m *testMesh) proxy(name string, p pod, upstreams ...string) *running {
	m.t.Helper()
	r, env := m.describe(name, p, upstreams...)
	r.p, r.stop = m.run(env)
	m.ready(r.admin)
	return r
}

// describe says how a workload's proxy is to be run.
func (m *testMesh) describe(name string, p pod, upstreams ...string) (*running, map[string]string) {
	m.t.Helper()
	app, podName := p.app, p.name
	r := &running{inbound: p.mesh, admin: loopback.Free(), out: map[string]string{}}
	_, port, _ := net.SplitHostPort(app)
	id := spiffeid.RequireFromString(workloadID(name))
	env := map[string]string{
		config.EnvIdentity: id.String(), config.EnvTrustFile: m.trust,
		config.EnvTokenFile: m.token(id, podName), config.EnvIdentityAddr: m.identity,
		config.EnvIdentityID: m.dev.ServerID().String(), config.EnvDestinationAddr: m.dest,
		config.EnvDestinationID: serverID("destination"), config.EnvInboundListen: r.inbound,
		config.EnvInboundApps: port + "=" + app, config.EnvAdminListen: r.admin,
		config.EnvDrainGrace: "5s",
	}
	var list []string
	for _, u := range upstreams {
		u, where, outside := strings.Cut(u, "=")
		if !outside {
			where = authority(u)
		}
		r.out[u] = loopback.Free()
		list = append(list, r.out[u]+"="+where)
	}
	if list == nil {
		list = []string{loopback.Free() + "=" + authority(name)}
	}
	env[config.EnvOutboundUpstreams] = strings.Join(list, ",")
	if m.viz != "" {
		env[config.EnvVizAddr], env[config.EnvVizID] = m.viz, serverID("viz")
	}
	return r, env
}

// token hands a join token over as dev mode does, by a descriptor's number.
func (m *testMesh) token(id spiffeid.ID, podName string) string { return m.dev.Token(id, podName) }

func (m *testMesh) run(env map[string]string) (*proxy.Proxy, func() error) {
	m.t.Helper()
	if m.destDue {
		m.startDestination()
	}
	r, w, err := os.Pipe()
	check(m.t, err)
	_, err = w.WriteString(env[config.EnvTokenFile])
	check(m.t, err)
	w.Close()
	fd := dup(m.t, r)
	delete(env, config.EnvTokenFile)
	env[config.EnvTokenFD] = strconv.Itoa(fd)
	cfg, err := config.Parse(func(k string) string { return env[k] })
	check(m.t, err)
	cfg.Limits = m.limits
	p, err := proxy.New(cfg, "test", proxy.Output{
		Log: m.log.With("proxy", env[config.EnvIdentity]), Level: &slog.LevelVar{},
		Access: m.access,
	})
	check(m.t, err)
	if m.lookUp != nil {
		p.FindViz(m.lookUp)
	}
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- p.Run(ctx) }()
	stop := sync.OnceValue(func() error {
		cancel()
		return await.Receive(m.t, "the proxy of "+cfg.Identity+" has drained", result)
	})
	m.t.Cleanup(func() { check(m.t, stop()) })
	return p, stop
}

// asker asks an admin port, which answers at once or not at all.
var asker = &http.Client{Timeout: 5 * time.Second}

// ready waits for the proxy's own word.
func (m *testMesh) ready(admin string) {
	m.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for last := "no answer"; time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		resp, err := asker.Get("http://" + admin + "/ready")
		if err != nil {
			continue
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode == 200 {
			return
		}
		if s := string(b); s != last {
			last = s
			m.log.Info("not ready", "why", last)
		}
	}
	m.t.Fatal("the proxy is not ready in time")
}

// app is a real HTTP server, HTTP/1 and cleartext HTTP/2.
func app(t testing.TB, h http.Handler) string {
	t.Helper()
	return appOf(t, true, true, h)
}

// appOf is one that may know only one of the two.
func appOf(t testing.TB, http1, http2 bool, h http.Handler) string {
	t.Helper()
	l, err := (&net.ListenConfig{Control: narrow}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check(t, err)
	protocols := &http.Protocols{}
	protocols.SetHTTP1(http1)
	protocols.SetUnencryptedHTTP2(http2)
	s := &http.Server{Handler: h, Protocols: protocols}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

// pair is a caller and a callee, each with its proxy.
func (m *testMesh) pair(h http.Handler) (url string, caller, callee *running) {
	m.t.Helper()
	addr := app(m.t, h)
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	callee = m.proxy("web", web)
	caller = m.caller("web")
	return "http://" + caller.out["web"], caller, callee
}

// caller is a meshed client without an application of its own.
func (m *testMesh) caller(upstreams ...string) *running {
	m.t.Helper()
	p := pod{"client-0", "127.0.0.1:1", loopback.Free()}
	m.write("pod-client.yaml", podYAML("client", p))
	return m.proxy("client", p, upstreams...)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func get(t testing.TB, c *http.Client, url string) (int, string, http.Header) {
	t.Helper()
	resp, err := c.Get(url)
	check(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	check(t, err)
	return resp.StatusCode, string(b), resp.Header
}

// clientTimeout bounds a request that nobody else bounds, with its bodies.
const clientTimeout = 2 * await.Limit

// http2Client speaks cleartext HTTP/2 with prior knowledge.
func http2Client(t testing.TB) *http.Client {
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: protocols,
		DialContext: (&net.Dialer{Control: narrow}).DialContext}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: clientTimeout}
}

func http1Client(t testing.TB) *http.Client {
	tr := &http.Transport{DialContext: (&net.Dialer{Control: narrow}).DialContext}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: clientTimeout}
}

// narrow bounds what the kernel keeps for a socket of the test. By itself the kernel would come to
// keep megabytes, and then a reader that takes nothing would stop nobody.
func narrow(_, _ string, c syscall.RawConn) error {
	const size = 256 << 10
	var receive, send error
	err := c.Control(func(fd uintptr) {
		receive = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, size)
		send = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, size)
	})
	return errors.Join(err, receive, send)
}

// testLog shows logs of a test that failed.
func testLog(t testing.TB) *slog.Logger {
	var b output.Buffer
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(b.String())
		}
	})
	h := slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})
	return slog.New(undrawn.Refuse(t, h, forward.Undrawn))
}
