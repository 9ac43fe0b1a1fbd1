package otlp

import (
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/trace"
)

const (
	// heldFor is how long a record waits for another of its trace to show that it is worth
	// exporting: a request of the application's ends before the one that it was made for.
	heldFor = 2 * time.Second
	// maxHeld bounds those that wait, some 1 MiB; the oldest go first.
	maxHeld = 1024
	// maxWanted bounds the traces of which all that ends within heldFor is wanted.
	maxWanted = 64
)

// shelf holds records of traces that nobody has sampled. Without any it has no memory.
type shelf struct {
	mu     sync.Mutex // guards what follows
	held   []*outcome.Record
	next   int // the oldest of held, once there are maxHeld
	wanted [maxWanted]wanted
	newest int // of wanted
}

type wanted struct {
	trace trace.ID
	until time.Time
}

// put holds a record, or says that it is wanted at once, for another of its trace was.
func (s *shelf) put(r *outcome.Record, now time.Time) (atOnce bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.wanted {
		w := &s.wanted[i]
		if w.trace == r.Trace.Context.Trace && now.Before(w.until) {
			return true
		}
	}
	if len(s.held) < maxHeld {
		s.held = append(s.held, r)
		return false
	}
	s.held[s.next] = r
	s.next = (s.next + 1) % maxHeld
	return false
}

// take takes what is held of a trace, of which what is yet to end is wanted from now on.
func (s *shelf) take(id trace.ID, now time.Time) (out []*outcome.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newest = (s.newest + 1) % maxWanted
	s.wanted[s.newest] = wanted{id, now.Add(heldFor)}
	for i, r := range s.held {
		if r == nil || r.Trace.Context.Trace != id {
			continue
		}
		if now.Sub(r.Start.Add(r.Latency)) <= heldFor {
			out = append(out, r)
		}
		s.held[i] = nil
	}
	return out
}
