package wire

import (
	"bytes"
	"sync/atomic"
	"testing"
	"time"
)

const testAllowance = 32 << 20

// Whoever is alone has no less than without an Allowance. Thousands that take what they get stay
// within the limit, but for the least that each of them has.
func TestSharesShrink(t *testing.T) {
	a := &Allowance{Limit: testAllowance}
	if a.short() {
		t.Errorf("the share of a single connection is %d", a.Share())
	}
	const buffers = 4
	for n := 1; n <= 5000; n++ {
		if a.Add(buffers * a.Share()); a.Held() > a.Limit+n*buffers*leastShare {
			t.Fatalf("%d connections hold %d bytes", n, a.Held())
		}
		if n == 300 && a.Share() < leastShare {
			t.Errorf("300 connections leave %d bytes for the next", a.Share())
		}
	}
	if a.Share() < leastShare {
		t.Errorf("a share is %d bytes: nothing moves", a.Share())
	}
}

// What waits for a peer that reads nothing counts, and no longer once it has read, or is gone.
func TestWhatWaitsForAPeerIsHeld(t *testing.T) {
	for _, leaves := range []bool{false, true} {
		pairs(t, func(t *testing.T, client, server *Conn) {
			a := &Allowance{Limit: testAllowance}
			client.Allowance = a
			n := fill(client)
			held, since, _ := client.Slowness()
			if held == 0 || held != a.Held() || time.Since(since) > time.Minute {
				t.Fatalf("%d bytes are held since %v, of %d", held, since, a.Held())
			}
			if leaves {
				client.Close()
			} else {
				readN(t, server, n)
				client.AwaitOutput()
			}
			client.Close()
			client.Wait()
			if held := a.Held(); held != 0 {
				t.Errorf("%d bytes count for ever", held)
			}
		})
	}
}

// fill writes until the kernel takes no more, and returns how much that is.
func fill(c *Conn) (n int) {
	for queued := 0; queued < 32<<10; n += 32 << 10 {
		put(c, noise(32<<10))
		c.Flush()
		c.Lock()
		queued = c.QueuedLocked()
		c.Unlock()
	}
	return n
}

// Where much is held, the output's mark is lower, and OnDrain comes all the same.
func TestRoomIsAShare(t *testing.T) {
	pairs(t, func(t *testing.T, client, server *Conn) {
		a := &Allowance{Limit: testAllowance}
		a.Add(testAllowance)
		client.MaxOutput, client.Allowance = 128<<10, a
		var drained atomic.Int64
		client.OnDrain = func() { drained.Add(1) }
		client.Lock()
		if room := client.RoomLocked(); room != leastShare {
			t.Errorf("room for %d bytes, want %d", room, leastShare)
		}
		client.Unlock()
		n := fill(client)
		client.Lock()
		if room := client.RoomLocked(); room > 0 {
			t.Errorf("room for %d bytes more", room)
		}
		client.WantDrainLocked()
		client.Unlock()
		before := drained.Load()
		readN(t, server, n)
		client.AwaitOutput()
		client.Close()
		client.Wait()
		if drained.Load() == before {
			t.Error("nobody was told that there is room again")
		}
	})
}

// A reader that waits for something else keeps its input, in a buffer of its size where much is
// held.
func TestHeldInputFits(t *testing.T) {
	for _, size := range []int{100, 10_000, 40_000, 100_000} {
		pairs(t, func(t *testing.T, client, server *Conn) {
			a := &Allowance{Limit: testAllowance}
			server.Allowance = a
			want := noise(size)
			put(client, want)
			client.Flush()
			server.SetReadDeadline(time.Now().Add(20 * time.Second))
			for len(server.Buffered()) < size {
				if err := server.Fill(); err != nil {
					t.Fatal(err)
				}
			}
			server.Hold()
			if a.Held() < bufferSize {
				t.Errorf("%d bytes are held in a buffer of %d", a.Held(), bufferSize)
			}
			server.Unhold()
			a.Add(testAllowance)
			server.Hold()
			if n := len(server.in.buf); n > 4*size && n > leastOutput {
				t.Errorf("%d bytes are kept in %d", size, n)
			}
			if !bytes.Equal(server.Buffered(), want) {
				t.Error("bytes differ")
			}
			server.Unhold()
			if a.Held() != testAllowance {
				t.Errorf("%d bytes count for ever", a.Held()-testAllowance)
			}
		})
	}
}
