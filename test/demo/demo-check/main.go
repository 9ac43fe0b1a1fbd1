// Command demo-check runs the demo unattended and fails unless the mesh does what it promises. It
// ends with 0 when all holds, with 3 when something does not (each with a line), and with 1 when it
// could not find out.
//
// What the mesh says of itself is held against three others' word: the load generator's counts, the
// applications' own, and the bytes that the recording relay read between the proxies.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// wholeCheck bounds everything: a mesh that hangs must not hang a build.
const wholeCheck = 5 * time.Minute

func main() {
	bin := flag.String("bin", "",
		"folder of meshctl, mesh-proxy and demo (default: this program's)")
	demo := flag.String("demo", "test/demo", "folder of the demo's mesh.yaml")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(ctx, wholeCheck)
	failures, err := run(ctx, *bin, *demo)
	cancel()
	stop()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "demo-check:", err)
		os.Exit(1)
	case failures > 0:
		fmt.Fprintf(os.Stderr, "demo-check: %d things are not as they must be\n", failures)
		os.Exit(3)
	}
}

// check is one promise. Its error is what could not be found out; what does not hold it reports.
type check struct {
	name string
	run  func(context.Context, *demo) error
}

// The order matters: what is counted at the end was sent before.
var checks = []check{
	{"start", checkSecond},
	{"flaky route", checkFlaky},
	{"always failing route", checkBroken},
	{"slow route", checkSlow},
	{"canary", checkCanary},
	{"ejection", checkEjection},
	{"fault", checkFault},
	{"rate limit", checkLimit},
	{"explain", checkExplain},
	{"profile edit", checkEdit},
	{"figures", checkFigures},
	{"figures after viz was restarted", checkRestart},
	{"encryption", checkEncryption},
	{"end", checkEnd},
}

func run(ctx context.Context, bin, source string) (failures int, err error) {
	if bin == "" {
		self, err := os.Executable()
		if err != nil {
			return 0, err
		}
		bin = filepath.Dir(self)
	}
	d, err := start(ctx, bin, source)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, d.cleanup()) }()
	for _, c := range checks {
		begin := time.Now()
		d.current = c.name
		if err := c.run(ctx, d); err != nil {
			return d.failures, fmt.Errorf("%s: %w", c.name, err)
		}
		if d.verbose {
			fmt.Printf("     (%s took %s)\n", c.name, time.Since(begin).Round(time.Millisecond))
		}
	}
	return d.failures, nil
}
