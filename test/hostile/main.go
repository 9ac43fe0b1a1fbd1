package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"golang.org/x/sync/errgroup"
)

var (
	meshProxy = flag.String("proxy", "bin/mesh-proxy", "the mesh-proxy to attack")
	timing    = flag.Bool("timing", true, "judge a well-behaved client's p99, "+
		"and answers by the second; off, by ten: for a machine that is not ours alone")
	only    = flag.String("run", "", "only rows whose name or position matches this")
	serving = flag.String("serve", "",
		"what this program starts itself with: to be this server, and nothing else")
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
	findings, err := run()
	for _, f := range findings {
		fmt.Println("FAILED", f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		os.Exit(1)
	}
	if len(findings) > 0 {
		os.Exit(3)
	}
}

// run returns what failed, to be said at the end: hundreds of lines may follow a row.
func run() (findings []string, err error) {
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "hostile")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	proxies, servers := part{"proxies", attackProxies}, part{"servers", besiege}
	detection := part{"detection", tabulate}
	for _, together := range sideBySide(proxies, servers, detection) {
		also, err := together.runIn(ctx, dir, pattern)
		findings = append(findings, also...)
		if err != nil {
			return findings, err
		}
	}
	return findings, nil
}

// sideBySide joins the parts that may disturb each other where the clock is not judged. The first
// is always alone: it measures memory to the MiB.
func sideBySide(first, second, third part) []part {
	if *timing {
		return []part{first, second, third}
	}
	both := func(
		ctx context.Context, dir string, pattern *regexp.Regexp,
	) (findings []string, err error) {
		var others []string
		var all errgroup.Group
		all.Go(func() (err error) {
			findings, err = second.runIn(ctx, dir, pattern)
			return err
		})
		all.Go(func() (err error) {
			others, err = third.runIn(ctx, dir, pattern)
			return err
		})
		err = all.Wait()
		return append(findings, others...), err
	}
	return []part{first, {"both", both}}
}

// part is a third of this program, with processes of its own.
type part struct {
	name string
	run  func(
		ctx context.Context, dir string, pattern *regexp.Regexp,
	) (findings []string, err error)
}

func (p part) runIn(
	ctx context.Context, dir string, pattern *regexp.Regexp,
) (findings []string, err error) {
	inner := filepath.Join(dir, p.name)
	if err := os.Mkdir(inner, 0o700); err != nil {
		return nil, err
	}
	return p.run(ctx, inner, pattern)
}

// attackProxies runs the rows whose target is the two proxies.
func attackProxies(
	ctx context.Context, dir string, pattern *regexp.Regexp,
) (findings []string, err error) {
	began := time.Now()
	s, err := openStage(ctx, dir, nil)
	if err != nil {
		return nil, err
	}
	defer s.close()
	rows := s.rows(pattern)
	slow := s.slowRows(pattern)
	if len(rows)+len(slow) == 0 {
		return nil, nil
	}
	if err := s.settle(); err != nil {
		return nil, err
	}
	if err := s.perform(rows, slow); err != nil {
		return nil, err
	}
	rows = append(rows, slow...)
	fmt.Println()
	fmt.Printf("%d rows in %v\n", len(rows), time.Since(began).Round(time.Second))
	return findingsOf(rows), nil
}
