package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/viz"
)

const (
	trustDomain  = "cluster.local"
	upstreamName = "app.bench.svc.cluster.local:80"
)

// plane is a control plane in this process, on loopback: the proxies under test run with discovery, certificates and
// reporting switched on, as they would anywhere.
type plane struct {
	binary, dir                string
	dev                        *identity.Dev
	identity, destination, viz string
	cancel                     context.CancelFunc
	ctx                        context.Context
	log                        *slog.Logger
}

func startPlane(binary, dir string) (*plane, error) {
	td, err := spiffeid.TrustDomainFromString(trustDomain)
	if err != nil {
		return nil, err
	}
	p := &plane{binary: binary, dir: dir, log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	if p.dev, err = identity.NewDev(identity.DevConfig{TrustDomain: td, Log: p.log}); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "ca.crt"), p.dev.Roots(), 0o600); err != nil {
		return nil, err
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if p.identity, err = p.serve(p.dev.Serve); err != nil {
		return nil, err
	}
	return p, p.startServers(td)
}

func (p *plane) startServers(td spiffeid.TrustDomain) error {
	objects := filepath.Join(p.dir, "objects")
	if err := os.Mkdir(objects, 0o700); err != nil {
		return err
	}
	src, err := p.dev.Source(p.ctx, serverID("destination"))
	if err != nil {
		return err
	}
	d := destination.New(destination.Config{Source: &destination.Files{Dir: objects, Log: p.log}, Identity: src, Log: p.log,
		Mesh: destination.Mesh{TrustDomain: td, ClusterDomain: trustDomain, LocalMesh: true, Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}})
	if p.destination, err = p.serve(d.Serve); err != nil {
		return err
	}
	if src, err = p.dev.Source(p.ctx, serverID("viz")); err != nil {
		return err
	}
	queries, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	v := viz.New(viz.Config{Source: src, TrustDomain: td, Log: p.log})
	p.viz, err = p.serve(func(ctx context.Context, l net.Listener) error { return v.Serve(ctx, l, queries) })
	return err
}

func (p *plane) serve(f func(context.Context, net.Listener) error) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		if err := f(p.ctx, l); err != nil && p.ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "bench: a control-plane server ended:", err)
		}
	}()
	return l.Addr().String(), nil
}

func serverID(name string) spiffeid.ID {
	return spiffeid.RequireFromString("spiffe://" + trustDomain + "/ns/tulle/sa/tulle-" + name)
}

// write describes the application, behind its proxy if it has one, the caller, and endpoints beside it that are only known of.
func (p *plane) write(app, mesh string, extra int) error {
	host, port, err := net.SplitHostPort(app)
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: Namespace\nmetadata: {name: bench}\n")
	pod := ""
	if mesh != "" {
		pod = ", targetRef: {kind: Pod, namespace: bench, name: app}"
	}
	service(&b, "app", fmt.Sprintf("ports: [{name: p, port: %s, protocol: TCP}]\nendpoints: [{addresses: [%s], conditions: {ready: true}%s}]\n", port, host, pod))
	if mesh != "" {
		meshedPod(&b, "app", mesh)
	}
	meshedPod(&b, "caller", "127.0.0.1:1")
	if extra > 0 {
		service(&b, "many", "ports: [{name: p, port: 80, protocol: TCP}]\nendpoints:\n"+manyEndpoints(extra))
	}
	whole := filepath.Join(p.dir, "bench.yaml") // destination must not read half of it
	if err := os.WriteFile(whole, []byte(b.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(whole, filepath.Join(p.dir, "objects", "bench.yaml"))
}

func service(b *strings.Builder, name, slice string) {
	fmt.Fprintf(b, "---\napiVersion: v1\nkind: Service\nmetadata: {namespace: bench, name: %[1]s}\n"+
		"spec: {clusterIP: 10.96.0.%[3]d, clusterIPs: [10.96.0.%[3]d], ports: [{name: p, port: 80, protocol: TCP}]}\n---\n"+
		"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {namespace: bench, name: %[1]s, labels: {kubernetes.io/service-name: %[1]s}}\n"+
		"addressType: IPv4\n%[2]s", name, slice, len(name))
}

func meshedPod(b *strings.Builder, name, mesh string) {
	fmt.Fprintf(b, "---\napiVersion: v1\nkind: Pod\nmetadata: {namespace: bench, name: %[1]s, labels: {tulle.dev/mesh: tulle}, "+
		"annotations: {tulle.dev/mesh-address: %q}}\nspec: {serviceAccountName: %[1]s, containers: [{name: app}], "+
		"initContainers: [{name: tulle-proxy, restartPolicy: Always}]}\nstatus: {phase: Running, podIP: 127.0.0.1, podIPs: [{ip: 127.0.0.1}]}\n", name, mesh)
}

func manyEndpoints(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "- {addresses: [10.244.%d.%d], conditions: {ready: true}}\n", i>>8, i&255)
	}
	return b.String()
}

// proxy starts a mesh-proxy process and waits until it is ready.
func (p *plane) proxy(name string, env map[string]string, procs int) (*exec.Cmd, error) {
	id := spiffeid.RequireFromString("spiffe://" + trustDomain + "/ns/bench/sa/" + name)
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if _, err := io.WriteString(w, p.dev.Token(id, name)); err != nil {
		return nil, err
	}
	w.Close()
	admin := freeAddr()
	cmd := exec.Command(p.binary, "run")
	cmd.ExtraFiles = []*os.File{r}
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // nothing outlives the measurement
	for k, v := range map[string]string{
		config.EnvIdentity: id.String(), config.EnvTrustFile: filepath.Join(p.dir, "ca.crt"), config.EnvTokenFD: "3",
		config.EnvIdentityAddr: p.identity, config.EnvIdentityID: p.dev.ServerID().String(),
		config.EnvDestinationAddr: p.destination, config.EnvDestinationID: serverID("destination").String(),
		config.EnvVizAddr: p.viz, config.EnvVizID: serverID("viz").String(), config.EnvAdminListen: admin,
		config.EnvLogLevel: "warn", "GOMAXPROCS": fmt.Sprint(procs),
	} {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", p.binary, err)
	}
	return cmd, awaitHTTP("http://" + admin + "/ready")
}

func awaitHTTP(url string) error {
	last := "no answer"
	for until := time.Now().Add(readyTimeout); time.Now().Before(until); time.Sleep(time.Millisecond) {
		resp, err := http.Get(url)
		if err != nil {
			continue
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode == 200 {
			return nil
		}
		last = string(b)
	}
	return fmt.Errorf("%s: not ready: %s", url, last)
}
