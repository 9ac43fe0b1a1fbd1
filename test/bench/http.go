package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// wrk asks without pause on 64 connections. Its latencies are those of saturation: a slow answer
// delays the next question, so they leave out what would have waited.
func wrk(path string, conns int, size float64) work {
	return func(ctx context.Context, c *chain, d time.Duration) (figures, error) {
		seconds := max(1, int(math.Ceil(d.Seconds())))
		out, err := generate(ctx, time.Duration(seconds)*time.Second, "wrk", "-t1",
			fmt.Sprintf("-c%d", conns), fmt.Sprintf("-d%ds", seconds), "--latency",
			"--timeout", "20s", "http://"+c.addr+path)
		if err != nil {
			return nil, err
		}
		return readWrk(out, size)
	}
}

// generatorGrace is how long beyond its time a load generator may take to end.
const generatorGrace = 30 * time.Second

func generate(ctx context.Context, d time.Duration, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, d+generatorGrace)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return string(out), nil
}

var (
	wrkTotal   = regexp.MustCompile(`(\d+) requests in ([\d.]+)(us|ms|s|m)`)
	wrkPercent = regexp.MustCompile(`\s(50|99)%\s+([\d.]+)(us|ms|s|m)`)
	wrkStatus  = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)`)
	wrkSocket  = regexp.MustCompile(
		`Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
)

// readWrk counts in units of size: 1 for requests, their MB for bodies.
func readWrk(out string, size float64) (figures, error) {
	m := wrkTotal.FindStringSubmatch(out)
	if m == nil {
		return nil, fmt.Errorf("wrk said something else:\n%s", out)
	}
	if n := sum(wrkStatus.FindStringSubmatch(out)) + sum(wrkSocket.FindStringSubmatch(out)); n > 0 {
		return nil, fmt.Errorf("%w (%s %s)", failed(n), wrkStatus.FindString(out),
			wrkSocket.FindString(out))
	}
	took, err := time.ParseDuration(m[2] + m[3])
	if err != nil {
		return nil, fmt.Errorf("wrk: %q: %w", m[0], err)
	}
	f := figures{done: size * sum(m[:2])}
	if f[done] == 0 {
		return nil, errNoAnswer
	}
	f[rate] = f[done] / took.Seconds()
	for _, m := range wrkPercent.FindAllStringSubmatch(out, -1) {
		v, err := time.ParseDuration(m[2] + m[3])
		if err != nil {
			return nil, fmt.Errorf("wrk: %q: %w", m[0], err)
		}
		f["p"+m[1]] = milliseconds(v)
	}
	return f, nil
}

// sum adds what an expression's groups matched; nothing matched is 0.
func sum(match []string) (n float64) {
	for _, s := range match[min(1, len(match)):] {
		v, _ := strconv.ParseFloat(s, 64) // digits
		n += v
	}
	return n
}

func failed(n float64) error {
	return fmt.Errorf("%.0f requests failed: the figures mean nothing", n)
}

// errNoAnswer: a whole round without one.
var errNoAnswer = errors.New("no request was answered")

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// question is what h2load is to ask.
type question struct {
	path    string
	paths   []string // in turn; empty: path alone
	args    []string
	conns   int
	streams int
	rps     float64 // in all; 0: as many as it can
	answer  int     // bytes of each answer's body, at least
	unit    float64 // what an answer counts for
}

// h2load asks on connections × streams. Its log has every request's time.
func h2load(q question) work {
	return func(ctx context.Context, c *chain, d time.Duration) (figures, error) {
		dir, err := os.MkdirTemp("", "h2load")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
		log := filepath.Join(dir, "log")
		args := []string{"-t1", fmt.Sprintf("-c%d", q.conns), fmt.Sprintf("-m%d", q.streams),
			fmt.Sprintf("-D%dms", d.Milliseconds()), "--log-file=" + log}
		if q.rps > 0 {
			args = append(args, fmt.Sprintf("--rps=%g", q.rps/float64(q.conns)))
		}
		args = append(append(args, q.args...), q.urls(c.addr)...)
		out, err := generate(ctx, d, "h2load", args...)
		if err != nil {
			return nil, err
		}
		f, err := readH2load(out, q, d)
		if err != nil {
			return nil, err
		}
		return f, readLog(log, f)
	}
}

func (q question) urls(addr string) (all []string) {
	for _, path := range q.paths {
		all = append(all, "http://"+addr+path)
	}
	if len(all) == 0 {
		all = append(all, "http://"+addr+q.path)
	}
	return all
}

var (
	h2loadTotal  = regexp.MustCompile(`requests: \d+ total, \d+ started, \d+ done, (\d+) succeeded`)
	h2loadFailed = regexp.MustCompile(`(\d+) failed, (\d+) errored, (\d+) timeout`)
	h2loadStatus = regexp.MustCompile(`status codes: .*`)
	h2loadData   = regexp.MustCompile(`\((\d+)\) data`)
)

func readH2load(out string, q question, d time.Duration) (figures, error) {
	m := h2loadTotal.FindStringSubmatch(out)
	if m == nil {
		return nil, fmt.Errorf("h2load said something else:\n%s", out)
	}
	if n := sum(h2loadFailed.FindStringSubmatch(out)); n > 0 {
		return nil, fmt.Errorf("%w (%s)", failed(n), h2loadStatus.FindString(out))
	}
	n := sum(m)
	if n == 0 {
		return nil, errNoAnswer
	}
	if missing := n*float64(q.answer) - sum(h2loadData.FindStringSubmatch(out)); missing > 0 {
		return nil, fmt.Errorf("%.0f answers have %.0f bytes less than they should", n, missing)
	}
	f := figures{done: q.unit * n, rate: q.unit * n / d.Seconds()}
	if q.rps > 0 && n < keepsUp*q.rps*d.Seconds() {
		return nil, fmt.Errorf("only %.0f requests/s of %.0f went through", n/d.Seconds(), q.rps)
	}
	return f, nil
}

// keepsUp is how much of a fixed rate must go through for the latencies to be those of that rate.
const keepsUp = 0.97

// readLog reads h2load's log, which has a line for each request: when it began, its status, how
// many microseconds it took.
func readLog(path string, f figures) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var us []int
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		if n, err := strconv.Atoi(fields[2]); err == nil {
			us = append(us, n)
		}
	}
	if len(us) == 0 {
		return fmt.Errorf("h2load logged no request")
	}
	slices.Sort(us)
	for name, q := range map[string]float64{p50: .5, p99: .99, p999: .999} {
		f[name] = float64(us[int(q*float64(len(us)-1))]) / 1000
	}
	return nil
}
