package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// result is one round of load against one pair.
type result struct {
	rps      float64
	p50, p99 time.Duration
	failed   int
}

// load runs the generator of a protocol for d against addr.
func load(protocol, addr string, d time.Duration) (result, error) {
	if protocol == "http1" {
		return wrk(addr, d)
	}
	return h2load(addr, d)
}

// generatorGrace is how long beyond its time a load generator may take to end.
const generatorGrace = 30 * time.Second

func generate(d time.Duration, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d+generatorGrace)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return string(out), nil
}

var (
	wrkRate    = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	wrkPercent = regexp.MustCompile(`\s(50|99)%\s+([\d.]+)(us|ms|s)`)
	wrkFailed  = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
)

func wrk(addr string, d time.Duration) (r result, err error) {
	out, err := generate(d, "wrk", "-t1", "-c64", fmt.Sprintf("-d%ds", int(d.Seconds())), "--latency", "http://"+addr+"/")
	if err != nil {
		return r, err
	}
	if m := wrkRate.FindStringSubmatch(out); m != nil {
		r.rps, _ = strconv.ParseFloat(m[1], 64)
	}
	for _, m := range wrkPercent.FindAllStringSubmatch(out, -1) {
		v, err := time.ParseDuration(m[2] + m[3])
		if err != nil {
			return r, fmt.Errorf("wrk: %q: %w", m[0], err)
		}
		if m[1] == "50" {
			r.p50 = v
		} else {
			r.p99 = v
		}
	}
	if m := wrkFailed.FindStringSubmatch(out); m != nil {
		r.failed, _ = strconv.Atoi(m[1])
	}
	return r, nil
}

var (
	h2loadRate   = regexp.MustCompile(`finished in [\d.]+s, ([\d.]+) req/s`)
	h2loadFailed = regexp.MustCompile(`(\d+) failed, (\d+) errored`)
)

// h2load's log file has a line for each request: when it began, its status, how many microseconds it took.
func h2load(addr string, d time.Duration) (r result, err error) {
	dir, err := os.MkdirTemp("", "h2load")
	if err != nil {
		return r, err
	}
	defer os.RemoveAll(dir)
	log := filepath.Join(dir, "log")
	out, err := generate(d, "h2load", "-t1", "-c8", "-m16", fmt.Sprintf("-D%d", int(d.Seconds())), "--log-file="+log, "http://"+addr+"/")
	if err != nil {
		return r, err
	}
	if m := h2loadRate.FindStringSubmatch(out); m != nil {
		r.rps, _ = strconv.ParseFloat(m[1], 64)
	}
	if m := h2loadFailed.FindStringSubmatch(out); m != nil {
		failed, _ := strconv.Atoi(m[1])
		errored, _ := strconv.Atoi(m[2])
		r.failed = failed + errored
	}
	r.p50, r.p99, err = logPercentiles(log)
	return r, err
}

func logPercentiles(path string) (p50, p99 time.Duration, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	var us []int
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		if n, err := strconv.Atoi(f[2]); err == nil {
			us = append(us, n)
		}
	}
	if len(us) == 0 {
		return 0, 0, nil
	}
	slices.Sort(us)
	at := func(q float64) time.Duration { return time.Duration(us[int(q*float64(len(us)-1))]) * time.Microsecond }
	return at(.5), at(.99), nil
}
