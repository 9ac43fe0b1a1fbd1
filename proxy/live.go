package proxy

import (
	"sync"
)

// live is the set of things of one kind that exist now.
type live[T comparable] struct {
	mu  sync.Mutex // guards set
	set map[T]struct{}
}

func (s *live[T]) add(v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == nil {
		s.set = map[T]struct{}{}
	}
	s.set[v] = struct{}{}
}

func (s *live[T]) remove(v T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.set, v)
}

// each calls f for what exists at this moment, without the lock.
func (s *live[T]) each(f func(T)) {
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
