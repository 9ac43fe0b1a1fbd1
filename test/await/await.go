// Package await bounds what tests wait for. A wait that is too long fails its test by name and
// shows every goroutine and every process below: without that a test that misses an event hangs
// until its binary is killed, and nobody can say what it waited for.
package await

import (
	"os"
	"runtime"
	"testing"
	"time"
)

// Limit is longer than anything takes that a test waits for, on a machine with more to do than
// this.
const Limit = time.Minute

// maxStacks bounds what is shown, bytes.
const maxStacks = 4 << 20

// Receive is the next value of c. It belongs on the test's own goroutine.
func Receive[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	late := time.NewTimer(Limit)
	defer late.Stop()
	select {
	case v = <-c:
	case <-late.C:
		fail(t, what)
	}
	return v
}

// Return waits for f to return.
func Return(t testing.TB, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	Receive(t, what, done)
}

// True asks every millisecond until it is so. It belongs on the test's own goroutine.
func True(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(Limit); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			fail(t, what)
		}
	}
}

func fail(t testing.TB, what string) {
	t.Helper()
	stacks := make([]byte, maxStacks)
	stacks = stacks[:runtime.Stack(stacks, true)]
	t.Fatalf("not within %v: %s. All goroutines:\n%s\nProcesses below this one:\n%s", Limit, what,
		stacks, descendants(os.Getpid()))
}
