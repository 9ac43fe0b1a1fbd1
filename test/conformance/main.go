package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// part is a chapter of the table.
type part struct {
	name string
	run  func(context.Context, *mesh, *report) error
}

func parts() []part {
	return []part{
		{"h2spec", runH2spec},
		{"interop", runInterop},
		{"requests", runRequests},
		{"responses", runResponses},
		{"frames", runFrames},
		{"misbehave", runMisbehave},
		{"differential", runDifferential},
	}
}

// exitFound is the exit code when something is not as it must be.
const exitFound = 3

func main() {
	bin := flag.String("bin", "bin", "folder of mesh-proxy, h2spec and the interop programs")
	only := flag.String("only", "", "parts to run, separated by commas; all without")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	r := &report{}
	if err := run(ctx, *bin, *only, r); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
	r.summary(os.Stdout)
	if len(r.failures) > 0 {
		os.Exit(exitFound)
	}
}

func run(ctx context.Context, bin, only string, r *report) error {
	m, err := startMesh(ctx, bin)
	if err != nil {
		return err
	}
	defer m.stop()
	for _, p := range parts() {
		if only != "" && !strings.Contains(","+only+",", ","+p.name+",") {
			continue
		}
		r.begin(p.name)
		if err := p.run(ctx, m, r); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}
