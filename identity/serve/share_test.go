package serve

import (
	"fmt"
	"math"
	"testing"
)

// holders counts who holds what, after every invariant was looked at.
func holders(t *testing.T, s *share) map[string]int {
	t.Helper()
	all, sum := map[string]int{}, 0
	for address, from := range s.sources {
		all[address.Addr().String()] = from.conns.Len()
		sum += from.conns.Len()
		if s.largest[from.index] != from || from.conns.Len() == 0 {
			t.Fatalf("%s is at %d with %d connections", address, from.index, from.conns.Len())
		}
		if from.conns.Len() > s.largest[0].conns.Len() {
			t.Fatalf("%s holds more than who is said to hold the most", address)
		}
	}
	if sum != s.held || len(s.largest) != len(s.sources) {
		t.Fatalf("%d places held, %d counted; %d sources, %d sorted", sum, s.held,
			len(s.sources), len(s.largest))
	}
	return all
}

func from(address string) *conn { return &conn{address: AddressOf(address + ":1")} }

func TestWhoHoldsTheMostGivesWay(t *testing.T) {
	s := newShare(6, 6, false)
	for range 6 {
		s.add(from("10.0.0.1"), false)
	}
	for i := range 3 {
		if evicted, why := s.add(from("10.0.0.2"), false); evicted == nil && i < 3 {
			t.Errorf("newcomer %d: %q", i, why)
		}
	}
	// Three each: one more would only turn the tables.
	if _, why := s.add(from("10.0.0.2"), false); why != reasonFull {
		t.Errorf("refused for %q", why)
	}
	// Who holds nothing may have a place of those who hold three.
	if evicted, why := s.add(from("10.0.0.3"), false); evicted == nil || why != "" {
		t.Errorf("a third address: %q", why)
	}
	if got := fmt.Sprint(len(holders(t, s))); got != "3" {
		t.Errorf("%s addresses", got)
	}
}

func TestOneOfEachIsFull(t *testing.T) {
	s := newShare(3, 6, false)
	for i := range 3 {
		s.add(from(fmt.Sprintf("10.0.0.%d", i)), false)
	}
	if evicted, why := s.add(from("10.0.0.9"), false); evicted != nil || why != reasonFull {
		t.Errorf("%v, %q", evicted, why)
	}
}

func TestAnAddressHasItsBound(t *testing.T) {
	s := newShare(6, 2, false)
	for range 2 {
		s.add(from("10.0.0.1"), false)
	}
	if _, why := s.add(from("10.0.0.1"), false); why != reasonAddress {
		t.Errorf("refused for %q", why)
	}
	yielding := newShare(6, 2, true)
	first := from("10.0.0.1")
	yielding.add(first, false)
	yielding.add(from("10.0.0.1"), false)
	if evicted, why := yielding.add(from("10.0.0.1"), false); evicted != first || why != "" {
		t.Errorf("not the oldest gave way: %q", why)
	}
	holders(t, yielding)
}

// Nobody who says nothing, from however many addresses, keeps a newcomer out.
func TestTheSilentGiveWay(t *testing.T) {
	s := newShare(4, 2, true)
	for i := range 100 {
		if _, why := s.add(from(fmt.Sprintf("10.0.0.%d", i)), false); why != "" {
			t.Fatalf("newcomer %d: %q", i, why)
		}
	}
	if got := holders(t, s); len(got) != 4 {
		t.Errorf("held by %v", got)
	}
}

func TestWithoutMemoryAServerIsFull(t *testing.T) {
	s := newShare(100, 100, false)
	if _, why := s.add(from("10.0.0.1"), true); why != reasonMemory {
		t.Errorf("an empty server: %q", why)
	}
	for range 3 {
		s.add(from("10.0.0.1"), false)
	}
	if evicted, why := s.add(from("10.0.0.2"), true); evicted == nil || why != "" {
		t.Errorf("who holds three kept another out: %q", why)
	}
	if _, why := s.add(from("10.0.0.1"), true); why != reasonMemory {
		t.Errorf("who holds the most got more: %q", why)
	}
}

func TestAHostIsOneAddress(t *testing.T) {
	for remote, want := range map[string]string{
		"10.0.0.1:5": "10.0.0.1/32", "[::ffff:10.0.0.1]:5": "10.0.0.1/32",
		"[2001:db8:0:1:2::3]:5": "2001:db8:0:1::/64", "[fe80::1%eth0]:5": "fe80::/64",
		"pipe": "invalid Prefix",
	} {
		if got := AddressOf(remote).String(); got != want {
			t.Errorf("%s is counted as %s, want %s", remote, got, want)
		}
	}
}

func TestMemoryBoundsConnections(t *testing.T) {
	l := Limits{Connections: 10_000, PerAddress: 512, Base: 64 << 20, Each: 40 << 10}
	for memory, want := range map[int64][2]int{
		math.MaxInt64: {10_000, 512}, 4 << 30: {10_000, 512},
		115 << 20: {1305, 512}, 70 << 20: {153, 153}, 1 << 20: {1, 1},
	} {
		got := l.within(memory)
		if got.Connections != want[0] || got.PerAddress != want[1] {
			t.Errorf("%d MiB: %d and %d, want %v", memory>>20, got.Connections,
				got.PerAddress, want)
		}
	}
}
