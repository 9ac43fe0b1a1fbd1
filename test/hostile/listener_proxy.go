package main

import (
	"context"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/net/http2"
	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// addProxies adds the listeners of a proxy before an application, and of one that calls it, with
// the memory that the injector gives them. The stage's rows attack them too, by a hundred at a
// time; here they are thousands.
func (c *city) addProxies(ctx context.Context) error {
	dir := filepath.Join(c.dir, "stage")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	container, err := proxyContainer()
	if err != nil {
		return err
	}
	s, err := openStage(ctx, dir, runtimeOf(container))
	if err != nil {
		return err
	}
	limit := int(container.Resources.Limits.Memory().Value())
	callee := &child{process: s.callee, limit: limit}
	caller := &child{process: s.caller, limit: limit}
	c.children = append(c.children, callee, caller)
	_, port, err := net.SplitHostPort(s.app)
	if err != nil {
		return err
	}
	peer, err := c.peerOf(s, callee, port)
	if err != nil {
		return err
	}
	own := applicationOf(caller, "proxy, outbound", s.out)
	// For each silent connection of its own application the proxy opens a tunnel, with TLS.
	own.most = places / 2
	c.listeners = append(c.listeners, adminOf(callee),
		applicationOf(callee, "proxy, inbound", s.mesh), peer, own)
	return nil
}

// runtimeOf is what a container tells Go's runtime.
func runtimeOf(c corev1.Container) map[string]string {
	env := map[string]string{}
	for _, e := range c.Env {
		if e.Name == "GOMEMLIMIT" || e.Name == "GOMAXPROCS" {
			env[e.Name] = e.Value
		}
	}
	return env
}

// adminOf is a proxy's admin port. The costly page is attacked. A good caller is the kubelet: a
// proxy refuses a third scrape at once, whoever asks for it.
func adminOf(proxy *child) *listener {
	l := pageOf(proxy, "proxy, admin", proxy.admin, "/metrics")
	l.honest = func(ctx context.Context) error {
		return fetch(ctx, honestIP, "http://"+proxy.admin+"/ready", nil, "")
	}
	return l
}

// applicationOf is an application in plain HTTP at addr, which is a proxy's.
func applicationOf(proxy *child, name, addr string) *listener {
	l := pageOf(proxy, name, addr, "/")
	l.path, l.most = "/hang", 2*places // what is never answered costs most
	// One that has said nothing for so long gets a connection to the application.
	l.hold = 2 * limits.DetectTimeout
	return l
}

// peerOf is the application before which callee is, to another proxy. A good caller is served in
// plaintext: attackers with a certificate are no others' fault.
func (c *city) peerOf(s *stage, callee *child, port string) (*listener, error) {
	src, err := s.plane.Source("attacker")
	if err != nil {
		return nil, err
	}
	l := applicationOf(callee, "proxy, inbound, mTLS", s.mesh)
	l.speaks = speaksHTTP2
	app, sni := s.plane.WorkloadID("app"), port+config.SNISuffix
	l.secure = spiffe.ClientConfig(src, app, []string{config.ALPNHTTP}, sni)
	l.send = l.endlessHead
	return l, nil
}

// endlessHead is a request in HTTP/2 whose head is of so many bytes.
func (l *listener) endlessHead(ctx context.Context, size int) error {
	nc, err := l.enter()
	if err != nil {
		return err
	}
	defer nc.Close()
	p := newPeer(nc)
	p.client()
	p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.get(l.path)})
	for piece := noise(16 << 10); size > 0 && ctx.Err() == nil; size -= len(piece) {
		if err := p.WriteContinuation(1, false, piece); err != nil {
			return err
		}
	}
	return p.out.Flush()
}
