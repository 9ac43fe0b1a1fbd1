package dev

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"golang.org/x/sync/errgroup"

	"github.com/tulle-mesh/tulle/cli/objectives"
	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/files"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/viz"
)

// serverID is the SPIFFE ID of a control-plane server, the same as on Kubernetes.
func serverID(server string) string {
	return "spiffe://" + trustDomain + "/ns/" + names.Namespace + "/sa/" + server
}

// plane is the control plane in this process: identity, destination and viz, on loopback.
type plane struct {
	log *slog.Logger
	dev *identity.Dev
	td  spiffeid.TrustDomain
	inputs
	cancel  context.CancelFunc
	ctx     context.Context // of the SVIDs, which outlive a server's restart
	sources map[string]*spiffe.Source

	mu      sync.Mutex // one restart at a time; guards servers
	servers map[string]*server

	destination atomic.Pointer[destination.Destination] // the one of the moment

	identityAddr, destinationAddr, vizAddr, queryAddr string

	pages Pages
}

// server is one of them while it runs.
type server struct {
	cancel context.CancelFunc
	done   chan struct{}
	err    error // read after done
}

func startServer(
	ctx context.Context, log *slog.Logger, name string, serve func(context.Context) error,
) *server {
	ctx, cancel := context.WithCancel(ctx)
	s := &server{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		if s.err = serve(ctx); s.err != nil && ctx.Err() == nil {
			log.Error("a server of the control plane ended", "server", name, "err", s.err)
		}
	}()
	return s
}

func (s *server) stop() {
	s.cancel()
	<-s.done
}

// planeStart bounds how long the servers' first certificates take: everything happens in this
// process.
const planeStart = 10 * time.Second

// inputs are what destination and viz are made of.
type inputs struct {
	folders []string     // what it reads
	consul  string       // whom it asks beside them, or ""
	tracing *api.Tracing // what it tells proxies of tracing; nil: nothing
	kept    string       // where viz keeps what it counts for objectives
	version string       // that all is built from
}

// startPlane starts the three servers on free ports. ctx bounds the start only.
func startPlane(
	ctx context.Context, in inputs, log *slog.Logger,
) (*plane, error) {
	td, err := spiffeid.TrustDomainFromString(trustDomain)
	if err != nil {
		return nil, fmt.Errorf("start identity: %w", err)
	}
	figures := serve.NewHealth()
	dev, err := identity.NewDev(identity.DevConfig{TrustDomain: td, Log: log,
		Metrics: figures.Metrics})
	if err != nil {
		return nil, fmt.Errorf("start identity: %w", err)
	}
	p := &plane{log: log, dev: dev, td: td, inputs: in,
		sources: map[string]*spiffe.Source{}, servers: map[string]*server{}}
	p.ctx, p.cancel = context.WithCancel(context.WithoutCancel(ctx))
	ctx, cancel := context.WithTimeout(ctx, planeStart)
	defer cancel()
	startIdentity := func(context.Context) error { return p.startIdentity(figures) }
	starts := []func(context.Context) error{startIdentity, p.startDestination, p.startViz}
	for _, start := range starts {
		if err := start(ctx); err != nil {
			return nil, errors.Join(err, p.close())
		}
	}
	return p, nil
}

// listenAgain listens where a server listened before, or anywhere on loopback the first time.
func listenAgain(addr *string) (net.Listener, error) {
	where := *addr
	if where == "" {
		where = loopback(0)
	}
	l, err := net.Listen("tcp", where)
	if err != nil {
		return nil, err
	}
	*addr = l.Addr().String()
	return l, nil
}

// listenAll is listenAgain for several.
func listenAll(addrs ...*string) (all []net.Listener, err error) {
	for _, addr := range addrs {
		l, err := listenAgain(addr)
		if err != nil {
			for _, l := range all {
				l.Close()
			}
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// together runs what belongs to one server until its context ends, or one of them does.
func together(run ...func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		all, ctx := errgroup.WithContext(ctx)
		for _, f := range run {
			all.Go(func() error { return f(ctx) })
		}
		return all.Wait()
	}
}

// on is what serves on a listener.
func on(
	run func(context.Context, net.Listener) error, l net.Listener,
) func(context.Context) error {
	return func(ctx context.Context) error { return run(ctx, l) }
}

func (p *plane) startIdentity(figures *serve.Health) error {
	l, err := listenAll(&p.identityAddr, &p.pages.Identity)
	if err != nil {
		return fmt.Errorf("start identity: %w", err)
	}
	p.servers["identity"] = startServer(p.ctx, p.log, "identity",
		together(on(p.dev.Serve, l[0]), on(figures.Serve, l[1])))
	return nil
}

// source is a server's SVID, kept for its restarts. The first is waited for no longer than ctx.
func (p *plane) source(ctx context.Context, server string) (*spiffe.Source, error) {
	if src := p.sources[server]; src != nil {
		return src, nil
	}
	id, err := spiffeid.FromString(serverID(server))
	if err != nil {
		return nil, err
	}
	// a start that is over ends the plane, and the wait with it
	stop := context.AfterFunc(ctx, p.cancel)
	defer stop()
	src, err := p.dev.Source(p.ctx, id)
	if err != nil {
		return nil, err
	}
	p.sources[server] = src
	return src, ctx.Err()
}

func (p *plane) startDestination(ctx context.Context) error {
	src, err := p.source(ctx, names.Destination)
	if err != nil {
		return fmt.Errorf("start destination: %w", err)
	}
	sources, zones, err := p.destinationSources()
	if err != nil {
		return fmt.Errorf("start destination: %w", err)
	}
	l, err := listenAll(&p.destinationAddr, &p.pages.Destination)
	if err != nil {
		return fmt.Errorf("start destination: %w", err)
	}
	figures := serve.NewHealth()
	d := destination.New(destination.Config{
		Mesh: destination.Mesh{TrustDomain: p.td, ClusterDomain: names.ClusterDomain,
			LocalMesh: true, Zones: zones, Tracing: p.tracing},
		Source: sources, Identity: src, Log: p.log, Metrics: figures.Metrics,
	})
	p.destination.Store(d)
	p.servers["destination"] = startServer(p.ctx, p.log, "destination",
		together(on(d.Serve, l[0]), on(figures.Serve, l[1])))
	return nil
}

func (p *plane) startViz(ctx context.Context) error {
	src, err := p.source(ctx, names.Viz)
	if err != nil {
		return fmt.Errorf("start viz: %w", err)
	}
	l, err := listenAll(&p.vizAddr, &p.queryAddr, &p.pages.Viz, &p.pages.Mesh)
	if err != nil {
		return fmt.Errorf("start viz: %w", err)
	}
	figures := serve.NewHealth()
	v := viz.New(viz.Config{Source: src, TrustDomain: p.td, Log: p.log, Metrics: figures.Metrics,
		Version: p.version, MetricsCompat: viz.CompatViews(), ObjectivesFile: p.kept})
	figures.Metrics.MustRegister(v)
	p.servers["viz"] = startServer(p.ctx, p.log, "viz", together(
		func(ctx context.Context) error { return p.serveViz(ctx, v, l[0], l[1]) },
		on(figures.Serve, l[2]), on(v.ServeMetrics, l[3])))
	return nil
}

// serveViz serves viz, which hears of objectives meanwhile.
func (p *plane) serveViz(ctx context.Context, v *viz.Server, reports, queries net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	followed := make(chan struct{})
	go func() {
		defer close(followed)
		p.followObjectives(ctx, v)
	}()
	err := v.Serve(ctx, reports, queries)
	cancel()
	<-followed
	return err
}

// readAgain is how long after a file that was wrong at first viz looks whether it still is.
const readAgain = 2 * time.Second

// followObjectives tells viz which objectives the folders have, until the context ends. What is
// wrong in a file destination says, which reads the same.
func (p *plane) followObjectives(ctx context.Context, v *viz.Server) {
	for {
		var all destination.Sources
		for _, dir := range p.folders {
			all = append(all, &files.Source{Dir: dir, Log: slog.New(slog.DiscardHandler)})
		}
		if err := objectives.Follow(ctx, all, v.SetObjectives); err != nil {
			p.log.Error("ServiceLevelObjectives are not followed yet", "err", err)
		}
		select {
		case <-time.After(readAgain):
		case <-ctx.Done():
			return
		}
	}
}

// restart ends viz or destination and starts a new one, which remembers nothing of the old one.
func (p *plane) restart(name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.servers[name].stop()
	if name == "viz" {
		return p.startViz(p.ctx)
	}
	return p.startDestination(p.ctx)
}

// hear tells destination what was found of an instance's port.
func (p *plane) hear(pod registry.Name, m *api.Health) error {
	return p.destination.Load().Hear(pod, m)
}

// diagnose answers for the destination of the moment. Who may open the socket may ask, so no name
// that a browser was led to can be the request's host.
func (p *plane) diagnose(w http.ResponseWriter, r *http.Request) {
	r.Host = "localhost"
	p.destination.Load().Diagnostics().ServeHTTP(w, r)
}

// token is good for one instance's identity, in its proxy's memory only.
func (p *plane) token(id, pod string) (string, error) {
	parsed, err := spiffeid.FromString(id)
	if err != nil {
		return "", err
	}
	return p.dev.Token(parsed, pod), nil
}

func (p *plane) roots() []byte { return p.dev.Roots() }

// close ends the servers and returns when they have.
func (p *plane) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancel()
	var errs []error
	for name, s := range p.servers {
		s.stop()
		if s.err != nil && !errors.Is(s.err, context.Canceled) {
			errs = append(errs, fmt.Errorf("end %s: %w", name, s.err))
		}
	}
	p.dev.Wait()
	return errors.Join(errs...)
}
