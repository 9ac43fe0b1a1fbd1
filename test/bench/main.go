package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tulle-mesh/tulle/test/openfiles"
)

// bench is one run.
type bench struct {
	proxy    string // the binary under test
	rounds   int
	duration time.Duration
	dir      string
	peers    []peer
	apps     *apps
	bars     []bar
	missing  []string // peers that are not installed
	seen     []middle
}

type options struct {
	proxy, base, envoy, only, rows string
	rounds                         int
	duration                       time.Duration
	docs                           string
	quick, footprint               bool
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == childArg {
		fmt.Fprintln(os.Stderr, "bench:", child(os.Args[2:]))
		os.Exit(1)
	}
	var o options
	flag.StringVar(&o.proxy, "mesh-proxy", "bin/mesh-proxy", "the proxy under test")
	flag.StringVar(&o.base, "base", "",
		"another build of mesh-proxy, measured in the same rounds under the name base")
	flag.StringVar(&o.envoy, "envoy", "envoy", "Envoy's binary")
	flag.StringVar(&o.only, "only", "", "which peers, by name; all by default")
	flag.StringVar(&o.rows, "rows", "",
		"which rows, by the beginnings of their names; all by default")
	flag.IntVar(&o.rounds, "rounds", 0, "of each, interleaved (default 9; 3 with -quick)")
	flag.DurationVar(&o.duration, "duration", 0, "of a round (default 2s)")
	flag.StringVar(&o.docs, "docs", "",
		"the folder whose performance.md and performance.svg are to say what was measured")
	flag.BoolVar(&o.quick, "quick", false,
		"the two-hop part alone, with httputil.ReverseProxy beside the others")
	flag.BoolVar(&o.footprint, "footprint", false, "measure the binary and the idle memory instead")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	code, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run(ctx context.Context, o options) (code int, err error) {
	if o.footprint {
		ok, err := footprint(o.proxy)
		if !ok {
			code = 3
		}
		return code, err
	}
	b, err := open(o)
	if err != nil {
		return 1, err
	}
	defer b.close()
	results, err := b.all(ctx, b.selected(o))
	if err != nil {
		return 1, err
	}
	code = b.judge(results)
	if o.docs == "" {
		return code, nil
	}
	return code, b.document(o.docs, results)
}

func (b *bench) all(ctx context.Context, rows []row) (results []result, err error) {
	for _, r := range rows {
		res, err := b.measure(ctx, r)
		if err != nil {
			return nil, err
		}
		printRow(os.Stdout, res)
		results = append(results, res)
	}
	return results, nil
}

func open(o options) (b *bench, err error) {
	// 10,000 connections are to fit, here and in every peer, which inherits it.
	if _, err := openfiles.Raise(0); err != nil {
		return nil, fmt.Errorf("the limit of open files: %w", err)
	}
	b = &bench{proxy: o.proxy, rounds: o.rounds, duration: o.duration, bars: bars()}
	if b.rounds == 0 {
		b.rounds = map[bool]int{false: 9, true: 3}[o.quick]
	}
	if b.duration == 0 {
		b.duration = 2 * time.Second
	}
	if o.quick {
		b.bars = append(b.bars, quickBars()...)
	}
	if b.peers, err = b.choose(o); err != nil {
		return nil, err
	}
	if b.dir, err = os.MkdirTemp("", "bench"); err != nil {
		return nil, err
	}
	if b.apps, err = startApps(b.dir); err != nil {
		os.RemoveAll(b.dir)
		return nil, err
	}
	return b, nil
}

func (b *bench) close() {
	b.apps.stop()
	os.RemoveAll(b.dir)
}

// choose is the peers in the order of the tables.
func (b *bench) choose(o options) (chosen []peer, err error) {
	known := []peer{direct(), tulle("tulle", o.proxy), haproxy("haproxy", ""),
		haproxy("haproxy-h1", "http1"), nginx(), envoy(o.envoy)}
	if o.quick {
		known = append(known, reverseProxy())
	}
	if o.base != "" {
		base := tulle("base", o.base)
		base.version = nil // the checkout's is not its own
		known = slices.Insert(known, 2, base)
	}
	known = append(known, bare(o.proxy))
	if o.only == "" {
		return known, nil
	}
	for name := range strings.SplitSeq(o.only, ",") {
		i := slices.IndexFunc(known, func(p peer) bool { return p.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-only: nobody is called %q", name)
		}
		chosen = append(chosen, known[i])
	}
	return chosen, nil
}

// direct is nobody in between: what the machine can do.
func direct() peer {
	return peer{name: "direct", start: func(_ string, s shape, a *apps) (*chain, error) {
		if s.hops == tlsHop {
			return nil, errCannot
		}
		return &chain{addr: a.addr(s.front)}, nil
	}}
}

func (b *bench) selected(o options) (rows []row) {
	all := append(b.apps.allRows(), memoryRows()...)
	if o.quick {
		all = quickRows()
	}
	for _, r := range all {
		begins := func(begin string) bool { return strings.HasPrefix(r.name, begin) }
		if o.rows == "" || slices.ContainsFunc(strings.Split(o.rows, ","), begins) {
			rows = append(rows, r)
		}
	}
	return rows
}

// absent says once that a peer is not there.
func (b *bench) absent(name string) {
	if !slices.Contains(b.missing, name) {
		fmt.Fprintf(os.Stderr, "bench: %s is not installed, going on without it\n", name)
		b.missing = append(b.missing, name)
	}
}

// firstLine is how a program says its version.
func firstLine(name string, args ...string) string {
	out, _ := exec.Command(name, args...).CombinedOutput()
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return line
}
