package metric

import (
	"net/netip"
	"sync"
	"time"
)

// maxAddresses bounds the unauthenticated addresses that get series of their own within one
// RetireAfter. Callers choose their addresses, and every route and protocol multiplies the series
// of each; the mesh's own series must find room.
const maxAddresses = 64

// Addresses are the addresses of unauthenticated callers that were seen lately. The zero value is
// ready.
type Addresses struct {
	mu    sync.Mutex // guards everything below
	since time.Time
	seen  map[netip.Addr]struct{}
}

// Label is what metrics call an address: itself, or Other.
func (s *Addresses) Label(a netip.Addr, now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.since) > RetireAfter {
		s.since, s.seen = now, map[netip.Addr]struct{}{}
	}
	if _, ok := s.seen[a]; !ok {
		if len(s.seen) >= maxAddresses {
			return Other
		}
		s.seen[a] = struct{}{}
	}
	return a.String()
}
