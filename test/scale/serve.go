package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"golang.org/x/sync/errgroup"

	"github.com/tulle-mesh/tulle/destination"
	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/viz"
)

// childArg makes this program one of its own servers.
const childArg = "child"

// orders are what a child is to be: the first line of its standard input.
type orders struct {
	Server   string // what it is
	Listen   string // where; a port of 0 is any
	Shape    shape  // of destination's cluster
	Cert     string // its SVID, PEM, and those of the roots that it trusts
	Key      string
	Roots    string
	Profiles string // a folder for its profiles; empty: none
	// MemoryLimit is GOMEMLIMIT; empty: the install's.
	MemoryLimit string
}

// listening is what a child says once it listens: the first line of its standard output.
type listening struct {
	Addr    string
	Roots   string // identity's own, PEM
	Queries string // where viz answers
	Page    string // where it answers Prometheus
}

// server is one of the control plane's in this process.
type server struct {
	orders
	in      *json.Decoder
	out     *json.Encoder
	metrics *prometheus.Registry
}

// serveChild is one server until its standard input ends: that is its parent's end, too.
func serveChild() error {
	s := &server{in: json.NewDecoder(os.Stdin), out: json.NewEncoder(os.Stdout),
		metrics: prometheus.NewRegistry()}
	if err := s.in.Decode(&s.orders); err != nil {
		return fmt.Errorf("read the orders: %w", err)
	}
	run, ok := map[string]func(context.Context) error{
		serverDestination: s.destination, serverIdentity: s.identity, serverViz: s.viz,
	}[s.Server]
	if !ok {
		return fmt.Errorf("no server is called %q", s.Server)
	}
	serve.LimitGarbage()
	finish, err := s.profile()
	if err != nil {
		return err
	}
	return errors.Join(run(context.Background()), finish())
}

// The servers, as the manifest calls them.
const (
	serverDestination = "destination"
	serverIdentity    = "identity"
	serverViz         = "viz"
)

var childLog = slog.New(slog.NewTextHandler(os.Stderr,
	&slog.HandlerOptions{Level: slog.LevelError}))

func (s *server) destination(ctx context.Context) error {
	src, err := s.source()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return err
	}
	cluster := newSource(s.Shape)
	d := destination.New(destination.Config{Source: cluster, Identity: src, Log: childLog,
		Metrics: s.metrics,
		Mesh: destination.Mesh{TrustDomain: trustDomain, ClusterDomain: clusterDomain,
			Networks: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}})
	return s.during(ctx, listening{Addr: l.Addr().String()}, cluster.commands,
		func(ctx context.Context) error { return d.Serve(ctx, l) })
}

func (s *server) viz(ctx context.Context) error {
	src, err := s.source()
	if err != nil {
		return err
	}
	reports, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return err
	}
	queries, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, reports.Close())
	}
	page, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return errors.Join(err, reports.Close(), queries.Close())
	}
	v := viz.New(viz.Config{Source: src, TrustDomain: trustDomain, Log: childLog,
		Metrics: s.metrics})
	up := listening{Addr: reports.Addr().String(), Queries: queries.Addr().String(),
		Page: page.Addr().String()}
	return s.during(ctx, up, nil, func(ctx context.Context) error {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return v.Serve(ctx, reports, queries) })
		group.Go(func() error { return v.ServeMetrics(ctx, page) })
		return group.Wait()
	})
}

// during serves while the parent has commands, and ends when it has no more.
func (s *server) during(ctx context.Context, up listening, commands chan<- command,
	serve func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serve(ctx) })
	group.Go(func() error {
		defer cancel()
		if err := s.out.Encode(up); err != nil {
			return err
		}
		return s.obey(ctx, commands)
	})
	return group.Wait()
}

// obey passes commands on, and their replies back, until there are no more.
func (s *server) obey(ctx context.Context, to chan<- command) error {
	for {
		c := command{reply: make(chan reply, 1)}
		if err := s.in.Decode(&c); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read a command: %w", err)
		}
		switch c.Op {
		case opFigures:
			c.reply <- s.figures()
		case opCollect:
			debug.FreeOSMemory()
			c.reply <- reply{}
		default:
			select {
			case to <- c:
			case <-ctx.Done():
				return nil
			}
		}
		if err := s.out.Encode(<-c.reply); err != nil {
			return err
		}
	}
}

// liveHeap is the figure of what is in use, garbage included until it is collected.
const liveHeap = "heap MB"

// memoryClasses are what the runtime has, by what for.
var memoryClasses = map[string]string{
	liveHeap:       "/memory/classes/heap/objects:bytes",
	"free heap MB": "/memory/classes/heap/free:bytes",
	"stacks MB":    "/memory/classes/heap/stacks:bytes",
}

// figures are the metrics of what was refused, and what the memory is used for.
func (s *server) figures() reply {
	families, err := s.metrics.Gather()
	if err != nil {
		return reply{Error: err.Error()}
	}
	out := map[string]float64{}
	for _, f := range families {
		if !strings.Contains(f.GetName(), "refus") {
			continue
		}
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			if n := m.GetCounter().GetValue(); n > 0 {
				out[name] = n
			}
		}
	}
	for name, class := range memoryClasses {
		sample := []metrics.Sample{{Name: class}}
		metrics.Read(sample)
		out[name] = float64(sample[0].Value.Uint64()) / (1 << 20)
	}
	if s.Profiles != "" { // it is asked while all proxies are there
		if err := writeHeap(s.profileName("full.heap")); err != nil {
			return reply{Error: err.Error()}
		}
	}
	return reply{Figures: out}
}

func (s *server) profileName(kind string) string {
	return filepath.Join(s.Profiles, fmt.Sprintf("%s-%d.%s", s.Server, os.Getpid(), kind))
}

// source is this server's SVID, which its parent has made.
func (s *server) source() (*spiffe.Source, error) {
	svid, err := x509svid.Parse([]byte(s.Cert), []byte(s.Key))
	if err != nil {
		return nil, fmt.Errorf("the SVID: %w", err)
	}
	roots, err := spiffe.ParseRoots([]byte(s.Roots))
	if err != nil {
		return nil, fmt.Errorf("the roots: %w", err)
	}
	src := spiffe.NewSource()
	src.SetSVID(svid)
	src.SetBundle(trustDomain, roots)
	return src, nil
}

// profile begins a CPU profile, and finish writes it and one of the heap.
func (s *server) profile() (finish func() error, err error) {
	if s.Profiles == "" {
		return func() error { return nil }, nil
	}
	cpu, err := os.Create(s.profileName("cpu"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(err, cpu.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return errors.Join(cpu.Close(), writeHeap(s.profileName("heap")))
	}, nil
}

func writeHeap(path string) error {
	heap, err := os.Create(path)
	if err != nil {
		return err
	}
	for range 2 { // the profile is of the last collection, and what is pooled survives one
		runtime.GC()
	}
	return errors.Join(pprof.WriteHeapProfile(heap), heap.Close())
}
