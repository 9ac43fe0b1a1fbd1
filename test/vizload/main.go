package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"golang.org/x/sync/errgroup"

	"github.com/tulle-mesh/tulle/test/svid"
	"github.com/tulle-mesh/tulle/viz"
)

var trustDomain = spiffeid.RequireTrustDomainFromString("cluster.local")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	services := flag.Int("services", 0, "how many services there are; 0: a shop of five")
	flag.Parse()
	if err := run(ctx, os.Stdout, *services); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "vizload:", err)
		os.Exit(1)
	}
}

// run starts viz, and proxies that report to it, until the context ends. It prints where to ask.
func run(ctx context.Context, out io.Writer, services int) error {
	ca, err := svid.NewCA(trustDomain)
	if err != nil {
		return err
	}
	source, err := ca.Source("tulle", "tulle-viz", "tulle-viz-0", time.Hour)
	if err != nil {
		return err
	}
	reports, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	queries, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, reports.Close())
	}
	fmt.Fprintln(out, queries.Addr())
	all, ctx := errgroup.WithContext(ctx)
	v := viz.New(viz.Config{Source: source, TrustDomain: trustDomain, Log: slog.Default()})
	all.Go(func() error { return v.Serve(ctx, reports, queries) })
	list := proxies()
	if services > 0 {
		list = many(services)
	}
	for _, p := range list {
		all.Go(func() error { return p.stay(ctx, ca, reports.Addr().String()) })
	}
	return all.Wait()
}
