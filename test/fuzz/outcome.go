package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// overrun is how much longer than its time a target may take on a busy machine. An input that
	// hangs ends sooner: after 10 s Go says so itself.
	overrun = 5 * time.Minute
	// minimizing an input takes time from finding others. Go's own limit, a minute, can be a whole
	// run.
	minimizing = 2 * time.Second
)

// outcome is what is known of a target's run once it has ended.
type outcome struct {
	said    string
	err     error    // of the process
	overran bool     // so that it was killed
	inputs  []string // files of inputs that failed
}

// figures are what a target says of itself at the end.
type figures struct {
	runs, found, corpus int
}

// fuzz runs a target for so long. A process group of its own lets an interrupt end the workers too.
func (t *target) fuzz(ctx context.Context, d time.Duration) (outcome, error) {
	before, err := t.seeds()
	if err != nil {
		return outcome{}, err
	}
	within, cancel := context.WithTimeout(ctx, d+overrun)
	defer cancel()
	said, err := t.command(within, t.cache, d.String()).CombinedOutput()
	o := outcome{said: string(said), err: err, overran: within.Err() != nil}
	after, err := t.seeds()
	o.inputs = slices.DeleteFunc(after, func(s string) bool { return slices.Contains(before, s) })
	return o, err
}

func (t *target) command(ctx context.Context, cache, fuzztime string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, t.binary, "-test.run=^$", "-test.fuzz=^"+t.name+"$",
		"-test.fuzztime="+fuzztime, "-test.fuzzminimizetime="+minimizing.String(),
		"-test.fuzzcachedir="+cache, "-test.parallel=1")
	cmd.Dir = t.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	return cmd
}

// seeds are the files that go with the package. Go writes an input that fails there.
func (t *target) seeds() ([]string, error) {
	return filepath.Glob(filepath.Join(t.dir, "testdata", "fuzz", t.name, "*"))
}

var (
	status = regexp.MustCompile(
		`(?m)^fuzz: elapsed: .*, execs: (\d+) .*new interesting: (\d+) \(total: (\d+)\)$`)
	// baseline is all the status of a run that got no further than its corpus, as on a busy
	// machine.
	baseline = regexp.MustCompile(
		`(?m)^fuzz: elapsed: .*, gathering baseline coverage: (\d+)/(\d+) completed`)
	noise = regexp.MustCompile(`(?m)^(fuzz: .*|warning: starting with empty corpus)\n`)
	// deadline is all that a run says whose coordinator saw its own deadline as a failure: it
	// compares an error of one context with that of another, which is set a moment later
	// (https://go.dev/issue/75804, mended in Go 1.27).
	deadline = regexp.MustCompile(`^--- FAIL: \w+ \(.*\)\n    context deadline exceeded\nFAIL\n$`)
)

// judge says what a run did, and why it failed if it did.
func (o outcome) judge() (f figures, failure error) {
	if all := status.FindAllStringSubmatch(o.said, -1); all != nil {
		last := all[len(all)-1]
		f.runs, _ = strconv.Atoi(last[1])
		f.found, _ = strconv.Atoi(last[2])
		f.corpus, _ = strconv.Atoi(last[3])
	} else if all := baseline.FindAllStringSubmatch(o.said, -1); all != nil {
		last := all[len(all)-1]
		f.runs, _ = strconv.Atoi(last[1])
		f.corpus, _ = strconv.Atoi(last[2])
	}
	switch {
	case len(o.inputs) > 0:
		return f, fmt.Errorf("see %s", strings.Join(o.inputs, ", "))
	case o.overran:
		return f, fmt.Errorf("still ran %v after its time", overrun)
	case o.err != nil && !deadline.MatchString(noise.ReplaceAllString(o.said, "")):
		return f, o.err
	case f.runs == 0:
		return f, errors.New("ran nothing")
	}
	return f, nil
}
