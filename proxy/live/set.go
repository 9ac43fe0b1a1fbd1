package live

import (
	"sync"
)

// Set is the set of things of one kind that exist now.
type Set[T comparable] struct {
	mu  sync.Mutex // guards set
	set map[T]struct{}
}

// Add notes that v exists.
func (s *Set[T]) Add(v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == nil {
		s.set = map[T]struct{}{}
	}
	s.set[v] = struct{}{}
}

// Remove notes that v is gone, if it was there.
func (s *Set[T]) Remove(v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.set, v)
}

// Each calls f for what exists at this moment, without the lock.
func (s *Set[T]) Each(f func(T)) {
	s.mu.Lock()
	list := make([]T, 0, len(s.set))
	for v := range s.set {
		list = append(list, v)
	}
	s.mu.Unlock()
	for _, v := range list {
		f(v)
	}
}
