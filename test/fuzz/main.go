package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"sync"
	"syscall"
	"time"
)

var (
	duration = flag.Duration("time", time.Minute, "how long each target runs")
	only     = flag.String("run", "", "only targets whose folder and name, as in proxy/h1/FuzzChunked, match this")
	keep     = flag.Bool("keep", false, "then copy what was found into testdata/fuzz")
)

// exitFound is the exit code when a target failed.
const exitFound = 3

func main() {
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	failed, err := run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(1)
	}
	if failed > 0 {
		fmt.Fprintf(os.Stderr, "fuzz: %d targets failed\n", failed)
		os.Exit(exitFound)
	}
}

func run(ctx context.Context) (failed int, err error) {
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return 0, err
	}
	bin, err := os.MkdirTemp("", "fuzz")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(bin)
	began := time.Now()
	targets, err := find(ctx, bin, pattern)
	if err != nil {
		return 0, err
	}
	fmt.Printf("%d targets, %v each; built in %v\n", len(targets), *duration, time.Since(began).Round(time.Second))
	return runAll(ctx, targets)
}

// runAll runs one target for each CPU. Each has one worker process, and a coordinator that does little.
func runAll(ctx context.Context, targets []*target) (failed int, err error) {
	queue := make(chan *target, len(targets))
	for _, t := range targets {
		queue <- t
	}
	close(queue)
	var mu sync.Mutex
	var all sync.WaitGroup
	for range runtime.NumCPU() {
		all.Go(func() {
			for t := range queue {
				said, bad := t.perform(ctx)
				if ctx.Err() != nil {
					return
				}
				mu.Lock()
				fmt.Println(said)
				if bad {
					failed++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return failed, ctx.Err()
}

// perform runs a target, and says in a line how that went; in more, where it failed.
func (t *target) perform(ctx context.Context) (said string, failed bool) {
	o, err := t.fuzz(ctx, *duration)
	f, why := o.judge()
	if err != nil {
		why = err
	}
	kept := 0
	if why == nil && *keep {
		kept, why = t.keep(ctx)
	}
	said = fmt.Sprintf("%-15s %-17s %9d runs, %4d new, %5d in all", t.folder, t.name, f.runs, f.found, f.corpus)
	if *keep {
		said += fmt.Sprintf(", %d kept", kept)
	}
	if why != nil {
		said += fmt.Sprintf("\nFAILED %s in %s: %v\n%s", t.name, t.folder, why, o.said)
	}
	return said, why != nil
}
