//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// loaded is how the requests of a load ended.
type loaded struct {
	Sent, OK, Failed int
	Errors           map[string]int
	Seen             []seen
}

// seen is the version that one answer named, and when its request began.
type seen struct {
	At      time.Time
	Version string
}

// load is a client that sends at a rate until it is told to end.
type load struct {
	cmd       *exec.Cmd
	stdin     io.Closer
	out, errs bytes.Buffer
}

// startLoad lets a namespace's client call so many times a second; args end with the URL.
func startLoad(t *testing.T, ns string, rate int, args ...string) *load {
	t.Helper()
	l := &load{cmd: exec.Command("kubectl", append([]string{"-n", ns, "exec", "-i",
		"deploy/client", "-c", "app", "--", "/app", "load", "-rate", strconv.Itoa(rate)},
		args...)...)}
	stdin, err := l.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	l.stdin, l.cmd.Stdout, l.cmd.Stderr = stdin, &l.out, &l.errs
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.stdin.Close() })
	return l
}

// end waits for the last answer.
func (l *load) end(t *testing.T) loaded {
	t.Helper()
	if err := l.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Wait(); err != nil {
		t.Fatalf("load: %v\n%s%s", err, l.out.String(), l.errs.String())
	}
	var r loaded
	if err := json.Unmarshal(l.out.Bytes(), &r); err != nil {
		t.Fatalf("load: %v: %s", err, l.out.String())
	}
	return r
}

// lostNothing ends the load: every request that was sent must have been answered well.
func (l *load) lostNothing(t *testing.T) {
	t.Helper()
	l.end(t).lostNothing(t)
}

func (r loaded) lostNothing(t *testing.T) {
	t.Helper()
	t.Logf("%d requests", r.Sent)
	if r.Failed != 0 || r.OK != r.Sent || r.Sent == 0 {
		t.Errorf("of %d requests %d were answered and %d lost: %v",
			r.Sent, r.OK, r.Failed, r.Errors)
	}
}
