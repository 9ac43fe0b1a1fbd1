package proxy

import (
	"net/netip"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// maxCallerAddresses bounds the unauthenticated addresses that get series of their own within one metric.RetireAfter. They
// are the callers' to choose, every route and protocol multiplies them, and the mesh's own series must find room.
const maxCallerAddresses = 64

// callerAddresses are the unauthenticated ones that were seen lately.
type callerAddresses struct {
	mu    sync.Mutex // guards everything below
	since time.Time
	seen  map[netip.Addr]struct{}
}

// label is the address as metrics know it.
func (s *callerAddresses) label(a netip.Addr, now time.Time) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.since) > metric.RetireAfter {
		s.since, s.seen = now, map[netip.Addr]struct{}{}
	}
	if _, ok := s.seen[a]; !ok {
		if len(s.seen) >= maxCallerAddresses {
			return metric.Other
		}
		s.seen[a] = struct{}{}
	}
	return a.String()
}
