package forward

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/wire"
	"github.com/tulle-mesh/tulle/test/await"
)

// slowly is a caller that takes nothing of what waits for it.
func slowly(t *testing.T, p *harness) (c *ServerConn, peer net.Conn) {
	l := listen(t)
	peer, err := net.Dial("tcp", l.Addr().String())
	check(t, err)
	t.Cleanup(func() { peer.Close() })
	nc, err := l.Accept()
	check(t, err)
	c = p.web()
	c.Speak(wire.New(nc, nil), nil, true)
	t.Cleanup(func() { c.wire.Close(); c.wire.Wait() })
	for queued := 0; queued == 0; {
		c.wire.Lock()
		c.wire.AppendLocked(make([]byte, 64<<10)...)
		c.wire.Unlock()
		c.wire.Flush()
		c.wire.Lock()
		queued = c.wire.QueuedLocked()
		c.wire.Unlock()
	}
	p.Servers.Add(c)
	t.Cleanup(func() { p.Servers.Remove(c) })
	return c, peer
}

// A proxy that is short of memory cuts who has long taken little, and admits others for that.
func TestTheSlowestMakeRoom(t *testing.T) {
	p := newHarness(t)
	_, peer := slowly(t, p)
	if p.relieve(time.Now()) {
		t.Error("one that is slow for a moment was cut")
	}
	later := time.Now().Add(time.Minute)
	for i := range reliefEach {
		if !p.relieve(later) {
			t.Fatalf("request %d was not admitted", i)
		}
	}
	if _, err := io.Copy(io.Discard, peer); err == nil {
		t.Error("the slow caller took its cutting for an orderly end")
	}
	if p.relieve(later) {
		t.Error("more were admitted than there was room for")
	}
}

// Who takes what waits for it is not cut, however much that is.
func TestTheFastAreNotCut(t *testing.T) {
	p := newHarness(t)
	c, peer := slowly(t, p)
	go io.Copy(io.Discard, peer)
	await.True(t, "the caller has taken all", func() bool {
		held, _, _ := c.wire.Slowness()
		return held == 0
	})
	if p.relieve(time.Now().Add(time.Minute)) {
		t.Error("somebody was cut")
	}
}
