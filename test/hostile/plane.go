package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/identity/spiffe"
)

const (
	trustDomain = "cluster.local"
	namespace   = "hostile"
)

// plane is a control plane in this process: the proxies under attack get certificates and routes as anywhere.
type plane struct {
	ctx                   context.Context
	dir                   string
	dev                   *identity.Dev
	identity, destination string
	log                   *slog.Logger
}

func startPlane(ctx context.Context, dir string) (*plane, error) {
	td := spiffeid.RequireTrustDomainFromString(trustDomain)
	p := &plane{ctx: ctx, dir: dir, log: slog.New(slog.DiscardHandler)}
	var err error
	if p.dev, err = identity.NewDev(identity.DevConfig{TrustDomain: td, Log: p.log}); err != nil {
		return nil, err
	}
	if err := os.WriteFile(p.trustFile(), p.dev.Roots(), 0o600); err != nil {
		return nil, err
	}
	if err := os.Mkdir(p.objects(), 0o700); err != nil {
		return nil, err
	}
	if p.identity, err = p.serve(p.dev.Serve); err != nil {
		return nil, err
	}
	src, err := p.dev.Source(ctx, serverID("destination"))
	if err != nil {
		return nil, err
	}
	d := destination.New(destination.Config{Source: &destination.Files{Dir: p.objects(), Log: p.log}, Identity: src, Log: p.log,
		Mesh: destination.Mesh{TrustDomain: td, ClusterDomain: trustDomain, LocalMesh: true,
			Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}})
	p.destination, err = p.serve(d.Serve)
	return p, err
}

func (p *plane) trustFile() string { return filepath.Join(p.dir, "ca.crt") }
func (p *plane) objects() string   { return filepath.Join(p.dir, "objects") }

func (p *plane) serve(f func(context.Context, net.Listener) error) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		if err := f(p.ctx, l); err != nil && p.ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "hostile: a control-plane server ended:", err)
		}
	}()
	return l.Addr().String(), nil
}

func serverID(name string) spiffeid.ID {
	return spiffeid.RequireFromString("spiffe://" + trustDomain + "/ns/tulle/sa/tulle-" + name)
}

func workloadID(name string) spiffeid.ID {
	return spiffeid.RequireFromString("spiffe://" + trustDomain + "/ns/" + namespace + "/sa/" + name)
}

// source is a certificate for an attacker that has one.
func (p *plane) source(name string) (*spiffe.Source, error) {
	return p.dev.Source(p.ctx, workloadID(name))
}

// service is what destination is told: a Service with one endpoint, behind a proxy at mesh if that is not empty.
type service struct {
	name, address, mesh string
}

func authority(name string) string { return name + "." + namespace + ".svc." + trustDomain + ":80" }

func (p *plane) write(services []service) error {
	var b strings.Builder
	fmt.Fprintf(&b, "apiVersion: v1\nkind: Namespace\nmetadata: {name: %s}\n", namespace)
	for i, s := range services {
		host, port, err := net.SplitHostPort(s.address)
		if err != nil {
			return err
		}
		target := ""
		if s.mesh != "" {
			target = fmt.Sprintf(", targetRef: {kind: Pod, namespace: %s, name: %s}", namespace, s.name)
		}
		writeService(&b, s.name, fmt.Sprintf("{addresses: [%s], conditions: {ready: true}%s}", host, target), port, i+1)
		if s.mesh != "" {
			writePod(&b, s.name, s.mesh)
		}
	}
	// Destination watches the folder: it must not see half a file.
	whole := filepath.Join(p.dir, "hostile.yaml")
	if err := os.WriteFile(whole, []byte(b.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(whole, filepath.Join(p.objects(), "hostile.yaml"))
}

func writeService(w io.Writer, name, endpoint, port string, n int) {
	fmt.Fprintf(w, "---\napiVersion: v1\nkind: Service\nmetadata: {namespace: %[1]s, name: %[2]s}\n"+
		"spec: {clusterIP: 10.96.0.%[3]d, clusterIPs: [10.96.0.%[3]d], ports: [{name: p, port: 80, protocol: TCP}]}\n---\n"+
		"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {namespace: %[1]s, name: %[2]s, labels: {kubernetes.io/service-name: %[2]s}}\n"+
		"addressType: IPv4\nports: [{name: p, port: %[5]s, protocol: TCP}]\nendpoints: [%[4]s]\n", namespace, name, n, endpoint, port)
}

func writePod(w io.Writer, name, mesh string) {
	fmt.Fprintf(w, "---\napiVersion: v1\nkind: Pod\nmetadata: {namespace: %[1]s, name: %[2]s, labels: {tulle.dev/mesh: tulle}, "+
		"annotations: {tulle.dev/mesh-address: %[3]q}}\nspec: {serviceAccountName: %[2]s, containers: [{name: app}], "+
		"initContainers: [{name: tulle-proxy, restartPolicy: Always}]}\nstatus: {phase: Running, podIP: 127.0.0.1, podIPs: [{ip: 127.0.0.1}]}\n",
		namespace, name, mesh)
}
