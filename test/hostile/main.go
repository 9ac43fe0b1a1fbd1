package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

var (
	meshProxy = flag.String("proxy", "bin/mesh-proxy", "the mesh-proxy to attack")
	timing    = flag.Bool("timing", true, "judge a well-behaved client's p99, and answers by the second; off, by ten: for a machine that is not ours alone")
	only      = flag.String("run", "", "only rows whose name or position matches this")
	serving   = flag.String("serve", "", "what this program starts itself with: to be this server, and nothing else")
	servesDir = flag.String("dir", "", "where that server's files are")
)

func main() {
	flag.Parse()
	if *serving != "" {
		if err := serveAs(*serving, *servesDir); err != nil {
			fmt.Fprintln(os.Stderr, "hostile:", err)
			os.Exit(1)
		}
		return
	}
	failed, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(1)
	}
	if failed {
		os.Exit(3)
	}
}

func run() (failed bool, err error) {
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "hostile")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	proxies, servers := part{"proxies", attackProxies}, part{"servers", besiege}
	detection := part{"detection", tabulate}
	for _, together := range sideBySide(proxies, servers, detection) {
		also, err := together.runIn(ctx, dir, pattern)
		if err != nil {
			return false, err
		}
		failed = failed || also
	}
	return failed, nil
}

// printing is held by who prints what belongs together.
var printing sync.Mutex

// sideBySide joins the parts that may disturb each other where the clock is not judged. The first
// is always alone: it measures memory to the MiB.
func sideBySide(first, second, third part) []part {
	if *timing {
		return []part{first, second, third}
	}
	both := func(ctx context.Context, dir string, pattern *regexp.Regexp) (failed bool, err error) {
		var other bool
		var all errgroup.Group
		all.Go(func() (err error) {
			failed, err = second.runIn(ctx, dir, pattern)
			return err
		})
		all.Go(func() (err error) {
			other, err = third.runIn(ctx, dir, pattern)
			return err
		})
		err = all.Wait()
		return failed || other, err
	}
	return []part{first, {"both", both}}
}

// part is a third of this program, with processes of its own.
type part struct {
	name string
	run  func(ctx context.Context, dir string, pattern *regexp.Regexp) (failed bool, err error)
}

func (p part) runIn(ctx context.Context, dir string, pattern *regexp.Regexp) (failed bool, err error) {
	inner := filepath.Join(dir, p.name)
	if err := os.Mkdir(inner, 0o700); err != nil {
		return false, err
	}
	return p.run(ctx, inner, pattern)
}

// attackProxies runs the rows whose target is the two proxies.
func attackProxies(ctx context.Context, dir string, pattern *regexp.Regexp) (failed bool, err error) {
	began := time.Now()
	s, err := openStage(ctx, dir, nil)
	if err != nil {
		return false, err
	}
	defer s.close()
	rows := s.rows(pattern)
	slow := s.slowRows(pattern)
	if len(rows)+len(slow) == 0 {
		return false, nil
	}
	if err := s.settle(); err != nil {
		return false, err
	}
	if err := s.perform(rows, slow); err != nil {
		return false, err
	}
	rows = append(rows, slow...)
	fmt.Println()
	fmt.Printf("%d rows in %v\n", len(rows), time.Since(began).Round(time.Second))
	return complain(rows), nil
}

const columns = "%-44s  %-13s  %-26s  %7s  %9s  %9s  %9s  %9s  %s\n"

// heading is printed first, and then a line for each row as soon as it is done.
func (s *stage) heading() {
	fmt.Printf("at rest: %s; a well-behaved client's p99: %v\n\n", s.resting(), s.base.Round(10*time.Microsecond))
	fmt.Printf(columns, "attack", "at", "answer", "within", "growth 1", "100", "p99", "direct", "")
}

func (r *row) print() {
	mark := "ok"
	if len(r.failures) > 0 {
		mark = "FAILED"
	}
	fmt.Printf(columns, r.attack.name, r.position.name, r.want, r.slowest.Round(time.Millisecond), mib(r.single), mib(r.crowd),
		r.seen.p99.Round(10*time.Microsecond), r.seen.past.Round(10*time.Microsecond), mark)
	for _, f := range r.failures {
		fmt.Println("   ", f)
	}
}

func complain(rows []*row) (failed bool) {
	for _, r := range rows {
		for _, f := range r.failures {
			failed = true
			fmt.Printf("FAILED %s, %s: %s\n", r.attack.name, r.position.name, f)
		}
	}
	return failed
}
