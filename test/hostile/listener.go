package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/identity/api"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	vizapi "github.com/tulle-mesh/tulle/viz/api"
)

// listener is where one server of the mesh listens, and what a good caller does there.
type listener struct {
	name   string
	addr   string
	server *child
	secure *tls.Config // what an attacker gets through TLS with; nil: plaintext
	speaks dialect
	path   string // that an attacker asks for
	fields string // of HTTP/1, that an attacker says beside
	honest func(context.Context) error
	// send is an attacker's message of so many bytes; sizes are what is tried.
	send  func(ctx context.Context, size int) error
	sizes []int
	most  int           // attackers at once
	hold  time.Duration // that they stay when all have come, beyond siegeHold
}

// dialect is what a listener speaks.
type dialect uint8

const (
	speaksHTTP1 dialect = iota
	speaksGRPC
	speaksHTTP2 // and HTTP/1
)

// attackerIP and honestIP are loopback's: an address is what a server tells its callers apart by.
var attackerIP, honestIP = net.ParseIP("127.0.0.2"), net.ParseIP("127.0.0.1")

// city is the servers of the control plane, and a proxy.
type city struct {
	dir       string
	ca        *identity.Dev
	children  []*child
	listeners []*listener
}

// openCity starts them all. ctx is the certificates'.
func openCity(ctx context.Context, dir string) (c *city, err error) {
	c = &city{dir: dir}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	c.ca, err = identity.NewDev(identity.DevConfig{TrustDomain: meshDomain, Log: childLog})
	if err != nil {
		return nil, err
	}
	if err = c.write(ctx); err != nil {
		return nil, err
	}
	all := containers()
	all["dev"] = unlimited()
	for _, name := range []string{"identity", "dev", "destination", "viz", "injector"} {
		var one *child
		var container corev1.Container
		if container, err = cramp(name, all[name]); err != nil {
			return nil, err
		}
		if one, err = startChild(name, dir, container); err != nil {
			return nil, err
		}
		c.children = append(c.children, one)
		if err = c.place(ctx, one); err != nil {
			return nil, err
		}
	}
	return c, c.addProxies(ctx)
}

func (c *city) close() {
	for _, one := range c.children {
		one.stop()
	}
}

// write makes the servers' certificates, and what destination reads.
func (c *city) write(ctx context.Context) error {
	if err := os.WriteFile(rootsFile(c.dir), c.ca.Roots(), 0o600); err != nil {
		return err
	}
	for _, name := range []string{"destination", "viz", "injector"} {
		src, err := c.ca.Source(ctx, serverOf(name))
		if err != nil {
			return err
		}
		cert, key, err := src.SVID().Marshal()
		if err != nil {
			return err
		}
		if err := os.WriteFile(certFile(c.dir, name), cert, 0o600); err != nil {
			return err
		}
		if err := os.WriteFile(keyFile(c.dir, name), key, 0o600); err != nil {
			return err
		}
	}
	objects := filepath.Join(c.dir, "objects")
	if err := os.MkdirAll(objects, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(objects, "pods.yaml"),
		[]byte(podOf("hostile", "victim")+"---\n"+podOf("attack", "attacker")), 0o600)
}

// podOf is the pod that the parent's certificates are issued to.
func podOf(namespace, account string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {namespace: %s, name: dev}\n"+
		"spec: {serviceAccountName: %s, containers: [{name: app}]}\n", namespace, account)
}

// place says where a server is attacked.
func (c *city) place(ctx context.Context, s *child) error {
	at := s.ready.Addresses
	main := &listener{name: s.name, addr: at["tls"], server: s, speaks: speaksGRPC,
		most: silentCount}
	var err error
	switch s.name {
	case "identity", "dev":
		err = main.atIdentity(s)
	case "injector":
		err = main.atInjector(c.dir)
	case "destination", "viz":
		err = c.atMutual(ctx, main)
	}
	if err != nil {
		return err
	}
	c.listeners = append(c.listeners, main)
	if s.name == "viz" {
		if err := c.addTaps(ctx, s); err != nil {
			return err
		}
	}
	if s.name == "dev" {
		if err := c.addDev(s); err != nil {
			return err
		}
	}
	for _, page := range []struct{ listener, path string }{
		{"health", "/ready"}, {"queries", map[string]string{
			"dev":         "/api/stat?resource=deploy",
			"viz":         "/api/stat?resource=deploy",
			"destination": "/resources?inboundPort=80&namespace=hostile&pod=dev",
		}[s.name]},
	} {
		if addr := at[page.listener]; addr != "" {
			c.listeners = append(c.listeners, pageOf(s, s.name+", "+page.listener, addr, page.path))
		}
	}
	return nil
}

// pageOf is a port in plain HTTP.
func pageOf(s *child, name, addr, path string) *listener {
	l := &listener{name: name, addr: addr, server: s, path: path, most: places} // it has few
	l.honest = func(ctx context.Context) error {
		return fetch(ctx, honestIP, "http://"+addr+path, nil, "")
	}
	l.send, l.sizes = l.tooLong, []int{largeSize}
	return l
}

// atIdentity: callers have no certificate yet.
func (l *listener) atIdentity(s *child) error {
	roots, err := spiffe.ParseRoots([]byte(s.ready.Roots))
	if err != nil {
		return err
	}
	l.path = "/tulle.identity.v1.Identity/Bundles"
	l.secure = spiffe.BootstrapClientConfig(roots, serverOf("identity"), []string{"h2"})
	l.honest = certified(l, s.ready.Token)
	l.sizes = []int{12 << 10, largeSize}
	l.send = func(ctx context.Context, size int) error {
		ask := &api.CertifyRequest{Csr: make([]byte, size)}
		return converse(ctx, attackerIP, l, "/tulle.identity.v1.Identity/Certify", ask,
			&api.CertifyResponse{})
	}
	return nil
}

func (l *listener) atInjector(dir string) error {
	text, err := os.ReadFile(rootsFile(dir))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(text)
	l.speaks, l.path = speaksHTTP2, "/inject"
	l.secure = &tls.Config{
		RootCAs: pool, ServerName: "tulle-injector.tulle.svc", NextProtos: []string{"h2"},
	}
	l.honest = func(ctx context.Context) error {
		return fetch(ctx, honestIP, "https://"+l.addr+l.path, l.secure, admissionReview(0))
	}
	l.sizes = []int{3 << 20, largeSize} // what an API server lets an object have, and more
	l.send = func(ctx context.Context, size int) error {
		return fetch(ctx, attackerIP, "https://"+l.addr+l.path, l.secure, admissionReview(size))
	}
	return nil
}

// atMutual: callers show a certificate, attackers one of their own.
func (c *city) atMutual(ctx context.Context, l *listener) error {
	honest, err := c.ca.Source(ctx, workload("victim"))
	if err != nil {
		return err
	}
	attackers, err := c.ca.Source(ctx, attackerID)
	if err != nil {
		return err
	}
	l.atServer(l.server.name, honest, attackers)
	return nil
}

// atServer is destination or viz, by its name.
func (l *listener) atServer(name string, honest, attackers *spiffe.Source) {
	client := func(src *spiffe.Source) *tls.Config {
		return spiffe.ClientConfig(src, serverOf(name), []string{"h2"}, "")
	}
	l.secure = client(attackers)
	good := &listener{addr: l.addr, secure: client(honest)}
	if name == "viz" {
		l.path, l.honest, l.send = reportMethod, good.reported, l.largeReport
		l.sizes = []int{vizapi.MaxRequest - 1<<10, largeSize}
		return
	}
	l.path, l.honest, l.send = discoverMethod, good.discovered, l.largeHello
	l.sizes = []int{500 << 10, largeSize}
}

// addTaps is viz where single requests are told of, and where they are asked for: by who has leave,
// and by who makes that up. There are few places for taps, so that a good caller asks for something
// else.
func (c *city) addTaps(ctx context.Context, s *child) error {
	told := &listener{name: "viz, records", addr: s.ready.Addresses["tls"], server: s,
		speaks: speaksGRPC, most: silentCount}
	honest, err := c.ca.Source(ctx, workload("victim"))
	if err != nil {
		return err
	}
	attackers, err := c.ca.Source(ctx, attackerID)
	if err != nil {
		return err
	}
	told.atServer("viz", honest, attackers)
	good := &listener{addr: told.addr, secure: spiffe.ClientConfig(honest, serverOf("viz"),
		[]string{"h2"}, "")}
	told.path, told.honest = recordsMethod, good.listened
	told.sizes = []int{vizapi.MaxRequest - 64<<10, largeSize}
	if told.send, err = c.crowdOf(ctx, told.addr); err != nil {
		return err
	}
	c.listeners = append(c.listeners, told)
	for _, by := range []struct{ name, nonce string }{
		{"viz, taps", tapNonce}, {"viz, taps by made-up leave", "made up"},
	} {
		asked := pageOf(s, by.name, s.ready.Addresses["queries"], "/api/stat?resource=deploy")
		asked.path = "/api/tap?stream=1"
		asked.fields = names.TapNonceHeader + ": " + by.nonce + "\r\n"
		c.listeners = append(c.listeners, asked)
	}
	return nil
}

// crowdOf are attackers each of whom is somebody else, for one ends its own streams: in turn they
// send what viz takes most of.
func (c *city) crowdOf(ctx context.Context, addr string) (send func(context.Context, int) error,
	err error) {
	var crowd []*listener
	for i := range 4 * besiegers {
		id := fmt.Sprintf("%s-%d", attackerID, i)
		src, err := c.ca.Source(ctx, spiffeid.RequireFromString(id))
		if err != nil {
			return nil, err
		}
		crowd = append(crowd, &listener{addr: addr,
			secure: spiffe.ClientConfig(src, serverOf("viz"), []string{"h2"}, "")})
	}
	var turn atomic.Uint32
	return func(ctx context.Context, size int) error {
		return crowd[int(turn.Add(1))%len(crowd)].records(ctx, size)
	}, nil
}

// addDev is what `meshctl dev` serves beside identity, in the same process.
func (c *city) addDev(s *child) error {
	honest, err := s.ready.source("victim")
	if err != nil {
		return err
	}
	attackers, err := s.ready.source("attacker")
	if err != nil {
		return err
	}
	for _, name := range []string{"destination", "viz"} {
		l := &listener{name: "dev, " + name, addr: s.ready.Addresses[name], server: s,
			speaks: speaksGRPC, most: silentCount}
		l.atServer(name, honest, attackers)
		c.listeners = append(c.listeners, l)
	}
	return nil
}

// siege is one attack on one listener.
type siege struct {
	*assault
	*listener
	worst    time.Duration
	answered int
	peak     int
	failures []string
}

func (s *siege) fail(format string, args ...any) {
	s.failures = append(s.failures, fmt.Sprintf(format, args...))
}

func (c *city) sieges(pattern *regexp.Regexp) (all []*siege) {
	for _, l := range c.listeners {
		for _, a := range assaults() {
			if s := (&siege{assault: a, listener: l}); pattern.MatchString(s.String()) {
				all = append(all, s)
			}
		}
	}
	return all
}

func (s *siege) String() string { return s.assault.name + ", " + s.listener.name }

// many lets two attacks at a time have thousands of sockets: a process may not have enough for all.
var many = make(chan struct{}, 2)

// run attacks, beside a good caller.
func (s *siege) run() {
	if s.attackers() > 2*places {
		many <- struct{}{}
		defer func() { <-many }()
	}
	s.calm()
	if err := s.server.resetPeak(); err != nil {
		s.fail("%v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), siegeLimit)
	defer cancel()
	here, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		s.callHonestly(here)
	}()
	held, came := s.come(ctx, s.listener, s.attackers())
	close(here)
	<-done
	for _, c := range held {
		c.Close()
	}
	if came < s.attackers() {
		s.fail("%d of %d attackers came within %v: nothing is shown", came, s.attackers(),
			siegeLimit)
	}
	if err := s.server.here(); err != nil {
		s.fail("%v", err)
		return
	}
	if s.peak = s.server.peak(); s.peak > s.server.limit {
		s.fail("%s took %s, its container has %s", s.server.name, mib(s.peak), mib(s.server.limit))
	}
}

// attackers is how many come.
func (s *siege) attackers() int { return min(s.count, s.most) }

// calm waits until the server has given back most of what the row before made it take.
func (s *siege) calm() {
	until := time.Now().Add(calmWait)
	for s.server.rss() > s.server.limit/2 && time.Now().Before(until) {
		time.Sleep(50 * time.Millisecond)
	}
}

// here says why a server is not.
func (c *child) here() error {
	select {
	case <-c.ended:
		return fmt.Errorf("the server %s died: %s", c.name, c.log.String())
	default:
		return nil
	}
}

// callHonestly makes one good call after the other, each over a connection of its own, until all
// attackers have been here for a while. It ends with a call that began when they were.
func (s *siege) callHonestly(here <-chan struct{}) {
	var until time.Time
	for {
		select {
		case <-here:
			if until.IsZero() {
				until = time.Now().Add(siegeHold + s.hold)
			}
		default:
		}
		call, cancel := context.WithTimeout(context.Background(), honestLimit())
		began := time.Now()
		err := s.honest(call)
		cancel()
		s.worst = max(s.worst, time.Since(began))
		if err != nil {
			s.fail("a good caller, after %v: %v", time.Since(began).Round(time.Millisecond), err)
			return
		}
		s.answered++
		if !until.IsZero() && time.Now().After(until) {
			return
		}
		time.Sleep(honestPause)
	}
}

// besiege runs what matches, and returns what failed. Servers are attacked side by side, each by
// one attack at a time.
func besiege(
	ctx context.Context, dir string, pattern *regexp.Regexp,
) (findings []string, err error) {
	c, err := openCity(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer c.close()
	lanes, n := map[*child][]*siege{}, 0
	for _, s := range c.sieges(pattern) {
		lanes[s.server] = append(lanes[s.server], s)
		n++
	}
	fmt.Printf("\n"+siegeColumns, "every listener", "at", "answered", "worst", "memory", "")
	var all sync.WaitGroup
	began := time.Now()
	for _, lane := range lanes {
		all.Go(func() {
			for _, s := range lane {
				s.run()
				printing.Lock()
				s.print()
				for _, f := range s.failures {
					findings = append(findings, s.String()+": "+f)
				}
				printing.Unlock()
				if s.server.here() != nil {
					return // nothing more can be learnt
				}
			}
		})
	}
	all.Wait()
	fmt.Printf("%d rows in %v\n", n, time.Since(began).Round(time.Second))
	return findings, nil
}
