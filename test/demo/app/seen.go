package app

import (
	"encoding/json"
	"maps"
	"net/http"
	"sync"
)

// SeenPath answers how many requests reached the service, by path: what a proxy says it sent is
// compared with it.
const SeenPath = "/seen"

// seen counts requests by path; the paths are bounded, for anybody may make some up.
type seen struct {
	next http.Handler

	mu     sync.Mutex
	counts map[string]int
}

const maxSeenPaths = 50

func counted(next http.Handler) http.Handler { return &seen{next: next, counts: map[string]int{}} }

func (s *seen) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == SeenPath {
		s.mu.Lock()
		counts := maps.Clone(s.counts)
		s.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(counts) // whoever asked went away: there is nobody to tell
		return
	}
	s.mu.Lock()
	if _, known := s.counts[r.URL.Path]; known || len(s.counts) < maxSeenPaths {
		s.counts[r.URL.Path]++
	}
	s.mu.Unlock()
	s.next.ServeHTTP(w, r)
}
