// Package plane is a control plane inside a test program: the real proxies that the program starts
// get certificates and routes from it, and report to it, as anywhere. All of it is on loopback.
package plane

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/destination/files"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/viz"
)

const domain = "cluster.local"

var trustDomain = spiffeid.RequireTrustDomainFromString(domain)

// Plane serves until its context ends.
type Plane struct {
	ctx                        context.Context
	dir, namespace             string
	dev                        *identity.Dev
	identity, destination, viz string // addresses
	queries                    string // viz's
	log                        *slog.Logger
}

// Start keeps its files in dir. The workloads are of one namespace.
func Start(ctx context.Context, dir, namespace string) (*Plane, error) {
	p := &Plane{ctx: ctx, dir: dir, namespace: namespace, log: slog.New(slog.DiscardHandler)}
	var err error
	p.dev, err = identity.NewDev(identity.DevConfig{TrustDomain: trustDomain, Log: p.log})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(p.TrustFile(), p.dev.Roots(), 0o600); err != nil {
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
	d := destination.New(destination.Config{Source: &files.Source{Dir: p.objects(), Log: p.log},
		Identity: src, Log: p.log,
		Mesh: destination.Mesh{TrustDomain: trustDomain, ClusterDomain: domain, LocalMesh: true,
			Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}})
	p.destination, err = p.serve(d.Serve)
	return p, err
}

// ServeViz lets the proxies that are started from now on report.
func (p *Plane) ServeViz() error {
	src, err := p.dev.Source(p.ctx, serverID("viz"))
	if err != nil {
		return err
	}
	queries, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	p.queries = queries.Addr().String()
	v := viz.New(viz.Config{Source: src, TrustDomain: trustDomain, Log: p.log})
	p.viz, err = p.serve(func(ctx context.Context, l net.Listener) error {
		return v.Serve(ctx, l, queries)
	})
	return err
}

// Viz asks the viz that ServeViz has started.
func (p *Plane) Viz() *viz.Client { return viz.NewClient(p.queries) }

func (p *Plane) serve(f func(context.Context, net.Listener) error) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		if err := f(p.ctx, l); err != nil && p.ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "a control-plane server ended:", err)
		}
	}()
	return l.Addr().String(), nil
}

// TrustFile has the roots that all certificates chain to.
func (p *Plane) TrustFile() string { return filepath.Join(p.dir, "ca.crt") }

func (p *Plane) objects() string { return filepath.Join(p.dir, "objects") }

func serverID(name string) spiffeid.ID {
	return spiffeid.RequireFromString("spiffe://" + domain + "/ns/tulle/sa/tulle-" + name)
}

// WorkloadID is who a service's proxy is.
func (p *Plane) WorkloadID(service string) spiffeid.ID {
	return spiffeid.RequireFromString("spiffe://" + domain + "/ns/" +
		p.namespace + "/sa/" + service)
}

// Source is a workload's certificate, for a program that is its own proxy.
func (p *Plane) Source(service string) (*spiffe.Source, error) {
	return p.dev.Source(p.ctx, p.WorkloadID(service))
}

// Authority is what a proxy's upstream is called.
func (p *Plane) Authority(service string) string {
	return service + "." + p.namespace + ".svc." + domain + ":80"
}
