//go:build netns

package forward

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// deadNode is an address whose kernel never answers.
const deadNode = "10.98.0.2:80"

// nowhere is a network namespace in which what is sent to deadNode is lost.
type nowhere struct{ fd int }

func newNowhere(t *testing.T) nowhere {
	t.Helper()
	made := make(chan nowhere)
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		n, err := makeNowhere()
		if err != nil {
			failed <- err
			return
		}
		made <- n
	}()
	select {
	case n := <-made:
		t.Cleanup(func() { unix.Close(n.fd) })
		return n
	case err := <-failed:
		t.Fatalf("it needs root, and Debian's iproute2: %v", err)
	}
	return nowhere{}
}

func makeNowhere() (n nowhere, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return n, err
	}
	for _, args := range [][]string{{"link", "add", "eth0", "type", "veth", "peer", "name", "gone"},
		{"address", "add", "10.98.0.1/24", "dev", "eth0"},
		{"link", "set", "eth0", "up"}, {"link", "set", "gone", "up"},
		// a neighbour that nobody is, or the kernel would give up by itself
		{"neighbor", "add", "10.98.0.2", "lladdr", "02:00:00:00:00:02", "dev", "eth0"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return n, fmt.Errorf("ip %v: %w %s", args, err, out)
		}
	}
	n.fd, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	return n, err
}

// dial connects from there. A socket keeps the namespace that it was made in.
func (n nowhere) dial(ctx context.Context, addr string) (nc net.Conn, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if err = unix.Setns(n.fd, unix.CLONE_NEWNET); err == nil {
			nc, err = new(net.Dialer).DialContext(ctx, "tcp4", addr)
		}
	}()
	<-done
	return nc, err
}

// Of three endpoints one is on a node that is gone: its SYNs are lost, and the kernel repeats them.
// From five seconds on hardly any request waits for it, and it is not forgotten.
func TestALostSYNIsWaitedForByNobody(t *testing.T) {
	p, lost := newHarness(t), newNowhere(t)
	one, two := serve(t, "one"), serve(t, "two")
	plain := p.DialPlain
	var dials atomic.Int64
	p.DialPlain = func(ctx context.Context, addr string) (net.Conn, error) {
		if addr != deadNode {
			return plain(ctx, addr)
		}
		dials.Add(1)
		return lost.dial(ctx, addr)
	}
	p.update(one.Addr().String(), two.Addr().String(), deadNode)
	conn := p.web()
	began, asked, waited := time.Now(), 0, 0
	for time.Since(began) < 15*time.Second {
		sent := time.Now()
		_, answer := conn.request()
		if status, body := answer.wait(t); status != "200" {
			t.Errorf("status %s, %s", status, body)
		}
		if sent.Sub(began) > 5*time.Second {
			asked++
			if time.Since(sent) >= limits.DialElsewhere {
				waited++
			}
		}
		time.Sleep(time.Millisecond)
	}
	if waited*100 > asked {
		t.Errorf("%d of %d requests waited for a node that is dead", waited, asked)
	}
	if n := dials.Load(); n < 2 || n > 12 {
		t.Errorf("the dead node was dialed %d times, want a few", n)
	}
}
