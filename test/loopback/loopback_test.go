package loopback

import (
	"net"
	"testing"
)

// No address comes twice while there are others, and all can be listened on.
func TestFreeNeverComesTwice(t *testing.T) {
	seen := map[string]bool{}
	for range 3 * blockSize {
		addr := Free()
		if seen[addr] {
			t.Fatalf("%s came twice", addr)
		}
		seen[addr] = true
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
}

// A block that another process holds is left to it.
func TestBlocksOfOthersAreLeftToThem(t *testing.T) {
	for range blocks / 2 {
		addr := Free()
		mu.Lock()
		mine := len(held)
		l, err := net.Listen("tcp", held[mine-1].Addr().String())
		mu.Unlock()
		if err == nil {
			l.Close()
			t.Fatalf("the first port of the block of %s is free for others", addr)
		}
	}
}
