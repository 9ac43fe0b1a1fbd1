package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/tulle-mesh/tulle/test/openfiles"
	"github.com/tulle-mesh/tulle/test/svid"
)

type options struct {
	proxies, services int
	changes, restarts int
	rows              string
	docs              string
	meshctl           string
	profiles          string
	memoryLimit       string
}

// run is one run of the program.
type run struct {
	options
	shape   shape
	ca      *svid.CA
	results []result
}

const (
	podsEach = 10 // of each service
	// fullSize is what the bars are of. Fewer proxies need less patience.
	fullSize = 10000
	// mostTime bounds a run.
	mostTime = 30 * time.Minute
	// collectorPercent is for the proxies in this process: their garbage is to take little from the
	// processors that they share with what is measured.
	collectorPercent = 400
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == childArg {
		if err := serveChild(); err != nil {
			fmt.Fprintln(os.Stderr, "scale:", err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.IntVar(&o.proxies, "proxies", fullSize, "how many proxies there are")
	flag.IntVar(&o.services, "services", 1000, "how many services there are, of ten pods each")
	flag.IntVar(&o.changes, "changes", 10, "of an endpoint that many watch, for each such row")
	flag.IntVar(&o.restarts, "restarts", 1000, "of deployments, of which a tenth does not count")
	flag.StringVar(&o.rows, "rows", "",
		"which parts, by the beginnings of their names; all by default: "+
			strings.Join(partNames(), ", "))
	flag.StringVar(&o.docs, "docs", "",
		"the folder whose scale.md and scale.svg are to say what was measured")
	flag.StringVar(&o.meshctl, "meshctl", "bin/meshctl", "the meshctl whose inject is measured")
	flag.StringVar(&o.profiles, "profiles", "",
		"a folder for profiles of the servers; none by default")
	flag.StringVar(&o.memoryLimit, "memory-limit", "",
		"GOMEMLIMIT of the servers, to see what they would take; the install's by default")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(measure(ctx, o))
}

// measure is a run, and the exit status that says how it went.
func measure(ctx context.Context, o options) int {
	debug.SetGCPercent(collectorPercent)
	r, err := open(o)
	if err == nil {
		err = r.all(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "scale:", err)
		return 1
	}
	r.print(os.Stdout)
	if o.docs != "" {
		if err := r.document(o.docs); err != nil {
			fmt.Fprintln(os.Stderr, "scale:", err)
			return 1
		}
	}
	return r.code()
}

func open(o options) (*run, error) {
	s := shape{Services: o.services, Pods: podsEach}
	if o.proxies < 1 || o.proxies > s.pods() {
		return nil, fmt.Errorf("%d proxies: there are %d pods", o.proxies, s.pods())
	}
	if _, err := openfiles.Raise(2*fullSize + 1024); err != nil {
		return nil, fmt.Errorf("the limit of open files: %w", err)
	}
	ca, err := svid.NewCA(trustDomain)
	return &run{options: o, shape: s, ca: ca}, err
}

// part is rows that are measured together.
type part struct {
	name    string
	rows    []string
	measure func(*run, context.Context) error
}

// parts are in the order in which they are measured: what is most likely to be missed comes first.
func parts() []part {
	return []part{
		{"destination", []string{rowDestination, rowWatchedMany, rowWatchedAll, rowCPU,
			rowRestart, rowResume}, (*run).destination},
		{"identity", []string{rowIdentity}, (*run).identityMemory},
		{"viz", []string{rowViz}, (*run).vizMemory},
		{"edges", []string{rowVizEdges, rowVizQuery, rowVizCPU, rowVizPage}, (*run).edges},
		{"large", []string{rowLargeBytes, rowLargeTime}, (*run).large},
		{"growth", []string{rowGrowth}, (*run).growth},
		{"inject", []string{rowInject, rowInjectLinear}, (*run).inject},
	}
}

func partNames() (all []string) {
	for _, p := range parts() {
		all = append(all, p.name)
	}
	return all
}

// all measures what was asked for. A part that fails does not end the run: its rows are errors.
func (r *run) all(ctx context.Context) error {
	// A deadline would be that of each stream, and a proxy's streams have none.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(mostTime, func() {
		cancel(fmt.Errorf("the run takes more than %v", mostTime))
	})
	defer late.Stop()
	for _, p := range parts() {
		if !r.wants(p.name) {
			continue
		}
		err := p.measure(r, ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r.unmeasured(p.rows, err)
	}
	return nil
}

func (r *run) wants(part string) bool {
	return r.rows == "" || slices.ContainsFunc(strings.Split(r.rows, ","),
		func(begin string) bool { return strings.HasPrefix(part, begin) })
}

// patience is a time that a full run takes, or less of it for a smaller one.
func (r *run) patience(full time.Duration) time.Duration {
	return max(full*time.Duration(min(r.proxies, fullSize))/fullSize, 100*time.Millisecond)
}
