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

type options struct {
	time time.Duration
	only string
	keep bool
}

// exitFound is the exit code when a target failed.
const exitFound = 3

func main() {
	var o options
	flag.DurationVar(&o.time, "time", time.Minute, "how long each target runs")
	flag.StringVar(&o.only, "run", "",
		"only targets whose folder and name, as in proxy/h1/FuzzChunked, match this")
	flag.BoolVar(&o.keep, "keep", false, "then copy what was found into testdata/fuzz")
	flag.Parse()
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	failed, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(1)
	}
	if failed > 0 {
		fmt.Fprintf(os.Stderr, "fuzz: %d targets failed\n", failed)
		os.Exit(exitFound)
	}
}

func run(ctx context.Context, o options) (failed int, err error) {
	pattern, err := regexp.Compile(o.only)
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
	fmt.Printf("%d targets, %v each; built in %v\n", len(targets), o.time,
		time.Since(began).Round(time.Second))
	return o.runAll(ctx, targets)
}

// runAll runs one target for each CPU. Each has one worker process, and a coordinator that does
// little.
func (o options) runAll(ctx context.Context, targets []*target) (failed int, err error) {
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
				said, bad := t.perform(ctx, o)
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
func (t *target) perform(ctx context.Context, o options) (said string, failed bool) {
	end, err := t.fuzz(ctx, o.time)
	f, why := end.judge()
	if err != nil {
		why = err
	}
	kept := 0
	if why == nil && o.keep {
		kept, why = t.keep(ctx)
	}
	said = fmt.Sprintf("%-15s %-17s %9d runs, %4d new, %5d in all",
		t.folder, t.name, f.runs, f.found, f.corpus)
	if o.keep {
		said += fmt.Sprintf(", %d kept", kept)
	}
	if why != nil {
		said += fmt.Sprintf("\nFAILED %s in %s: %v\n%s", t.name, t.folder, why, end.said)
	}
	return said, why != nil
}
