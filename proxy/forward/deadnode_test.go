package forward

import (
	"context"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Of two endpoints one drops what is sent to it. It is tried by the first request, and from then on
// by nobody who waits for an answer; once it is back it has its share again.
func TestADeadNodeIsProbedByNobodyWhoWaits(t *testing.T) {
	p := newHarness(t)
	alive, dead := serve(t, "alive"), serve(t, "dead")
	var dropped atomic.Int64
	var back atomic.Bool
	p.dialer.ControlContext = func(ctx context.Context, _, addr string, _ syscall.RawConn) error {
		if addr != dead.Addr().String() || back.Load() {
			return nil
		}
		dropped.Add(1)
		<-ctx.Done()
		return ctx.Err()
	}
	p.update(alive.Addr().String(), dead.Addr().String())
	conn := p.web()
	waited := 0
	ask := func() string {
		began := time.Now()
		_, answer := conn.request()
		status, body := answer.wait(t)
		if status != "200" {
			t.Errorf("status %s, %s", status, body)
		}
		if time.Since(began) > limits.DialElsewhere/2 {
			waited++
		}
		return body
	}
	for until := time.Now().Add(6 * time.Second); time.Now().Before(until); {
		ask()
		time.Sleep(time.Millisecond)
	}
	if waited > 1 {
		t.Errorf("%d requests waited for a node that is dead", waited)
	}
	if n := dropped.Load(); n < 2 || n > 8 {
		t.Errorf("the dead node was dialed %d times, want a few", n)
	}
	back.Store(true)
	for until := time.Now().Add(20 * time.Second); ask() != "dead"; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("the node is back, and nobody has noticed")
		}
	}
}
