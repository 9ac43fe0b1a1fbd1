package destination

import (
	"context"
	"fmt"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tulle-mesh/tulle/identity/serve"
)

// Listen says where a destination of its own process listens.
type Listen struct {
	Proxies string // mTLS: ":8086"
	Queries string // diagnostics, on the pod's loopback only: "127.0.0.1:8087"
	Health  string // probes and Prometheus: ":9990"
}

const queryTimeout = 10 * time.Second // an answer is computed in milliseconds

// Run is `meshctl serve destination`: it listens, reports its health and answers until the context
// ends.
func Run(ctx context.Context, cfg Config, on Listen) error {
	if err := requireLoopback(on.Queries); err != nil {
		return err
	}
	var listeners [3]net.Listener
	for i, address := range []string{on.Proxies, on.Queries, on.Health} {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		defer l.Close()
		listeners[i] = l
	}
	health := serve.NewHealth()
	cfg.Metrics = health.Metrics
	d := New(cfg)
	health.Check("identity", cfg.Identity.Ready)
	health.Check("source", d.Ready)
	cfg.Log.Info("destination is up", "proxies", listeners[0].Addr(), "queries",
		listeners[1].Addr(), "health", listeners[2].Addr())
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return d.Serve(ctx, listeners[0]) })
	group.Go(func() error { return serveQueries(ctx, d, listeners[1]) })
	group.Go(func() error { return health.Serve(ctx, listeners[2]) })
	return group.Wait()
}

// requireLoopback keeps diagnostics from the network: they show the whole cluster to whoever asks.
func requireLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("listen for queries at %q: %w", address, err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return fmt.Errorf(
			"listen for queries at %q: must be a loopback address; `kubectl port-forward` "+
				"reaches it", address)
	}
	return nil
}

func serveQueries(ctx context.Context, d *Destination, l net.Listener) error {
	server := serve.NewHTTP(d.Diagnostics())
	server.WriteTimeout = queryTimeout
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	limits := serve.LoopbackLimits()
	if err := server.Serve(serve.Bound("queries", l, limits, d.cfg.Metrics)); ctx.Err() == nil {
		return fmt.Errorf("serve queries: %w", err)
	}
	return nil
}
