package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/tulle-mesh/tulle/cli/dev"
)

// mesh is the proxies under test and the servers behind them.
type mesh struct {
	bin, dir string
	ports    *dev.Ports
	seen     *recorder   // reads with Go's server
	h2       *recorder   // speaks HTTP/2 only
	wild     *wildServer // says what a case wants, HTTP/1
	hostile  *hostile    // breaks HTTP/2
	origins  []*origin   // of the differential
	closers  []func() error
	ended    chan error
	cancel   context.CancelFunc
}

// startMesh starts the servers, and then a proxy for each and one for the caller.
func startMesh(ctx context.Context, bin string) (m *mesh, err error) {
	m = &mesh{ended: make(chan error, 1)}
	defer func() {
		if err != nil {
			m.stop()
		}
	}()
	if m.bin, err = filepath.Abs(bin); err != nil {
		return m, err
	}
	if m.dir, err = os.MkdirTemp("", "tulle-conformance-"); err != nil {
		return m, err
	}
	services, err := m.startServers(ctx)
	if err != nil {
		return m, err
	}
	return m, m.up(ctx, services)
}

// startServers returns where each listens.
func (m *mesh) startServers(ctx context.Context) (map[string]string, error) {
	var err error
	if m.seen, err = startRecorder(true); err != nil {
		return nil, err
	}
	if m.h2, err = startRecorder(false); err != nil {
		return nil, err
	}
	if m.wild, err = startWild(); err != nil {
		return nil, err
	}
	if m.hostile, err = startHostile(); err != nil {
		return nil, err
	}
	m.closers = append(m.closers, m.seen.close, m.h2.close, m.wild.close, m.hostile.close)
	services := map[string]string{
		"seen": m.seen.addr, "h2": m.h2.addr, "wild": m.wild.addr, "hostile": m.hostile.addr,
	}
	if services["grpc"], err = m.startInteropServer(ctx); err != nil {
		return nil, err
	}
	for _, o := range origins() {
		if err := m.startOrigin(ctx, o); err != nil {
			return nil, err
		}
		services[o.name] = o.addr
	}
	return services, nil
}

func (m *mesh) up(ctx context.Context, services map[string]string) error {
	file := filepath.Join(m.dir, "mesh.yaml")
	if err := os.WriteFile(file, []byte(meshYAML(services)), 0o600); err != nil {
		return err
	}
	proxy := filepath.Join(m.bin, "mesh-proxy")
	version, err := exec.CommandContext(ctx, proxy, "version").Output()
	if err != nil {
		return fmt.Errorf("ask %s for its version (make build): %w", proxy, err)
	}
	ctx, m.cancel = context.WithCancel(ctx)
	var said bytes.Buffer
	ready := make(chan struct{})
	o := dev.Options{File: file, Dir: filepath.Join(m.dir, "state"), Proxy: proxy,
		Version: strings.TrimSpace(string(version)), LogLevel: "info", Out: io.Discard, Err: &said,
		Live: func(context.Context, string) { close(ready) }}
	go func() { m.ended <- dev.Up(ctx, o) }()
	select {
	case err := <-m.ended:
		m.ended <- nil
		return fmt.Errorf("start the mesh: %w\n%s", err, said.String())
	case <-ready:
	}
	m.ports, err = dev.ReadPorts(o.Dir)
	return err
}

// meshYAML: every server runs already, and so does the caller, which is this program; nobody calls
// it.
func meshYAML(services map[string]string) string {
	var b, calls strings.Builder
	b.WriteString("services:\n")
	for name, addr := range services {
		fmt.Fprintf(&b, "  %s: {address: %q}\n", name, addr)
		fmt.Fprintf(&calls, "%s, ", name)
	}
	fmt.Fprintf(&b, "  caller: {address: \"127.0.0.1:1\", calls: [%s]}\n",
		strings.TrimSuffix(calls.String(), ", "))
	return b.String()
}

// outbound is where the caller reaches a service: its own proxy.
func (m *mesh) outbound(service string) string { return m.instance("caller").Upstreams[service] }

// inbound is the service's proxy, for callers without one.
func (m *mesh) inbound(service string) string { return m.instance(service).Mesh }

func (m *mesh) instance(service string) *dev.Instance {
	for i := range m.ports.Instances {
		if m.ports.Instances[i].Service == service {
			return &m.ports.Instances[i]
		}
	}
	return &dev.Instance{}
}

// stop ends everything that was started.
func (m *mesh) stop() {
	if m.cancel != nil {
		m.cancel()
		if err := <-m.ended; err != nil {
			fmt.Fprintln(os.Stderr, "conformance: end the mesh:", err)
		}
	}
	for _, c := range m.closers {
		c()
	}
	os.RemoveAll(m.dir)
}
