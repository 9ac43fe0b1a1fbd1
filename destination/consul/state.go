package consul

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/destination/registry"
)

// state is how reading Consul goes: of the catalog, and of the services in it.
type state struct {
	log *slog.Logger

	mu       sync.Mutex // guards everything below
	all      map[*question]*standing
	unread   int    // of them
	failing  int    // of them
	synced   func() // called when all have been read for the first time; nil before Run, and then
	troubled bool   // it has been said that something fails
}

// standing is how one question stands.
type standing struct {
	answered bool
	last     time.Time // when the newest answer came
	err      error     // why there is none now
}

// watch is one of the two kinds of things that questions are about.
type watch struct{ resource string }

// What metrics call the two, as they do Kubernetes' kinds.
var (
	catalogWatch  = &watch{"catalog.consul"}
	instanceWatch = &watch{"health.consul"}
)

func newState(log *slog.Logger) *state {
	return &state{log: log, all: map[*question]*standing{}}
}

// begin is with the catalog alone. Once that has been read, and all that is in it, it calls synced.
func (s *state) begin(catalog *question, synced func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.synced = synced
	s.addLocked(catalog)
}

func (s *state) add(q *question) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addLocked(q)
}

func (s *state) addLocked(q *question) {
	s.all[q] = &standing{}
	s.unread++
}

func (s *state) remove(q *question) {
	s.mu.Lock()
	defer s.mu.Unlock()
	is := s.all[q]
	delete(s.all, q)
	if !is.answered {
		s.unread--
	}
	if is.err != nil {
		s.failing--
	}
	s.settleLocked()
}

// took notes a new answer.
func (s *state) took(q *question) {
	s.mu.Lock()
	defer s.mu.Unlock()
	is := s.all[q]
	if !is.answered {
		s.unread--
	}
	is.answered, is.last = true, time.Now()
	s.settleLocked()
}

// note says whether a question could be asked. That Consul is away is logged once, and once that it
// is back, however many questions wait for it.
func (s *state) note(q *question, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	is := s.all[q]
	if is.err != nil {
		s.failing--
	}
	if is.err = err; err != nil {
		s.failing++
	}
	if err != nil && !s.troubled {
		s.troubled = true
		s.log.Warn("Consul cannot be read: what is known of its services stays in use",
			"question", q.what, "error", err)
	}
	s.settleLocked()
}

func (s *state) settleLocked() {
	if s.troubled && s.failing == 0 {
		s.troubled = false
		s.log.Info("Consul answers again")
	}
	if s.unread == 0 && s.synced != nil {
		s.synced()
		s.synced = nil
	}
}

// questions is how many are asked.
func (s *state) questions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// missing names what has not been read yet.
func (s *state) missing() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.all) == 0 {
		return errors.New("of Consul, nothing has been read yet")
	}
	unread := slices.SortedFunc(maps.Keys(s.all), func(a, b *question) int {
		return cmp.Compare(a.what, b.what)
	})
	for _, q := range unread {
		switch is := s.all[q]; {
		case is.answered:
		case is.err != nil:
			return fmt.Errorf("of Consul, %s cannot be read: %w", q.what, is.err)
		default:
			return fmt.Errorf("of Consul, %s has not been read yet", q.what)
		}
	}
	return nil
}

// watches are the two kinds.
func (s *state) watches() (out []registry.Watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, kind := range []*watch{catalogWatch, instanceWatch} {
		w := registry.Watch{Resource: kind.resource}
		for q, is := range s.all {
			if q.watch != kind {
				continue
			}
			w.Failing = w.Failing || is.err != nil
			if is.last.After(w.Last) {
				w.Last = is.last
			}
		}
		out = append(out, w)
	}
	return out
}
