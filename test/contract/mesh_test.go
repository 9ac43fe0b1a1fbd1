package contract

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/output"
)

const domain = "cluster.local"

var trustDomain = spiffeid.RequireTrustDomainFromString(domain)

func serverID(name string) spiffeid.ID {
	return spiffeid.RequireFromString("spiffe://" + domain + "/ns/tulle/sa/tulle-" + name)
}

func workloadID(account string) spiffeid.ID {
	return spiffeid.RequireFromString("spiffe://" + domain + "/ns/shop/sa/" + account)
}

// mesh is an identity on loopback, and what is started beside it.
type mesh struct {
	t        testing.TB
	ctx      context.Context // ends with the test
	dev      *identity.Dev
	identity string
	trust    string // a file
	log      *slog.Logger
	said     *output.Buffer // the log
}

func newMesh(t testing.TB) *mesh {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	m := &mesh{t: t, ctx: ctx, trust: filepath.Join(t.TempDir(), "ca.crt"), said: &output.Buffer{}}
	m.log = testLog(t, m.said)
	dev, err := identity.NewDev(identity.DevConfig{TrustDomain: trustDomain, Log: m.log})
	check(t, err)
	m.dev = dev
	check(t, os.WriteFile(m.trust, dev.Roots(), 0o600))
	m.identity = m.serve(dev.Serve)
	return m
}

// serve answers on loopback until the test ends.
func (m *mesh) serve(f func(context.Context, net.Listener) error) string {
	m.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(m.t, err)
	ctx, cancel := context.WithCancel(m.ctx)
	var done sync.WaitGroup
	done.Go(func() {
		if err := f(ctx, l); err != nil && ctx.Err() == nil {
			m.t.Errorf("a server ended: %v", err)
		}
	})
	m.t.Cleanup(func() {
		cancel()
		await.Return(m.t, "the server on "+l.Addr().String()+" has ended", done.Wait)
	})
	return l.Addr().String()
}

// source is the identity of somebody who asks for none itself.
func (m *mesh) source(id spiffeid.ID) *spiffe.Source {
	m.t.Helper()
	src, err := m.dev.Source(m.ctx, id)
	check(m.t, err)
	return src
}

// sidecar is a real proxy in this process.
type sidecar struct {
	*proxy.Proxy
	inbound, admin string
	access         output.Buffer
	out            map[string]string // listeners, by authority
}

// setup is what a test says of a proxy.
type setup struct {
	account, pod string
	destination  string
	viz          string
	apps         map[int]string // by target port
	upstreams    []string       // authorities
	limits       config.Limits
}

// start runs a proxy until the test ends.
func (m *mesh) start(s setup) *sidecar {
	m.t.Helper()
	c := &sidecar{inbound: loopback.Free(), admin: loopback.Free(), out: map[string]string{}}
	var apps, upstreams []string
	for port, app := range s.apps {
		apps = append(apps, fmt.Sprintf("%d=%s", port, app))
	}
	for _, authority := range s.upstreams {
		c.out[authority] = loopback.Free()
		upstreams = append(upstreams, c.out[authority]+"="+authority)
	}
	env := map[string]string{
		config.EnvIdentity: workloadID(s.account).String(), config.EnvTrustFile: m.trust,
		config.EnvTokenFD:      strconv.Itoa(m.tokenFD(s)),
		config.EnvIdentityAddr: m.identity, config.EnvIdentityID: m.dev.ServerID().String(),
		config.EnvDestinationAddr: s.destination,
		config.EnvDestinationID:   serverID("destination").String(),
		config.EnvInboundListen:   c.inbound, config.EnvInboundApps: strings.Join(apps, ","),
		config.EnvOutboundUpstreams: strings.Join(upstreams, ","), config.EnvAdminListen: c.admin,
		config.EnvDrainGrace: "1s",
	}
	if s.viz != "" {
		env[config.EnvVizAddr], env[config.EnvVizID] = s.viz, serverID("viz").String()
	}
	cfg, err := config.Parse(func(k string) string { return env[k] })
	check(m.t, err)
	if s.limits.MaxTargets != 0 {
		cfg.Limits = s.limits
	}
	c.Proxy, err = proxy.New(cfg, "test", proxy.Output{
		Log: m.log.With("proxy", s.account), Level: &slog.LevelVar{}, Access: &c.access,
	})
	check(m.t, err)
	m.run(c.Proxy)
	c.ready(m.t)
	return c
}

// ready waits for the proxy's own word, which it gives once destination has welcomed it.
func (c *sidecar) ready(t testing.TB) {
	t.Helper()
	client := &http.Client{Timeout: await.Limit}
	deadline := time.Now().Add(await.Limit)
	for ; time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		resp, err := client.Get("http://" + c.admin + "/ready")
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return
		}
	}
	t.Fatal("the proxy does not become ready")
}

// level is the proxy's log level, as its admin port has it.
func (c *sidecar) level(t testing.TB) string {
	t.Helper()
	resp, err := http.Get("http://" + c.admin + "/log-level")
	check(t, err)
	defer resp.Body.Close()
	level, err := io.ReadAll(resp.Body)
	check(t, err)
	return strings.TrimSpace(string(level))
}

func (m *mesh) run(p *proxy.Proxy) {
	ctx, cancel := context.WithCancel(m.ctx)
	result := make(chan error, 1)
	go func() { result <- p.Run(ctx) }()
	m.t.Cleanup(func() {
		cancel()
		check(m.t, await.Receive(m.t, "the proxy has drained", result))
	})
}

// tokenFD hands the token over as dev mode does: in a file that the proxy inherits.
func (m *mesh) tokenFD(s setup) int {
	m.t.Helper()
	r, w, err := os.Pipe()
	check(m.t, err)
	defer r.Close()
	_, err = w.WriteString(m.dev.Token(workloadID(s.account), s.pod))
	check(m.t, err)
	w.Close()
	fd, err := syscall.Dup(int(r.Fd()))
	check(m.t, err)
	return fd
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// testLog shows the log of a test that failed.
func testLog(t testing.TB, b *output.Buffer) *slog.Logger {
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(b.String())
		}
	})
	return slog.New(slog.NewTextHandler(b, nil))
}
