package metric

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
)

// Event is something the proxy did or met that belongs to no series; each is counted by reason.
type Event uint8

const (
	// ConnectionRefused is a connection that the proxy did not serve: limit, policy, loop,
	// handshake.
	ConnectionRefused Event = iota
	// ProtocolError is a peer that broke HTTP/1, HTTP/2 or TLS.
	ProtocolError
	// OutcomeReason is a request or an opaque connection that did not go plainly well.
	OutcomeReason
	// RetryCause is why a try was sent again.
	RetryCause
	// ControlPlaneError is a failed call to identity, destination or viz.
	ControlPlaneError
	// ShedWork is work that was refused to stay within a bound: queue, memory, streams; or that
	// waits, for its endpoint has as many connections as it may.
	ShedWork
	// Mirrored is what became of a copy of a request.
	Mirrored
	// FaultInjected is a request that was delayed or answered with an error on purpose.
	FaultInjected
	// Span is of a trace, and what became of it.
	Span
	// NotYetValid is a peer whose certificate begins later than this proxy's clock says that it is:
	// one of the two clocks is wrong.
	NotYetValid
	events
)

func (e Event) String() string {
	names := [events]string{"connections_refused", "protocol_errors", "outcome_reasons",
		"retry_causes", "control_plane_errors", "work_shed", "mirrors", "faults_injected", "spans",
		"certificates_not_yet_valid"}
	if e >= events {
		return "unknown"
	}
	return names[e]
}

// MaxReasons bounds the reasons of one event. Reasons are words in this program's text, so the
// bound only catches a mistake: a reason made from a peer's bytes is counted as "other", and does
// not fill the memory.
const MaxReasons = 64

// Counter only goes up.
type Counter struct{ n atomic.Uint64 }

// Inc adds one.
func (c *Counter) Inc() { c.n.Add(1) }

// Add adds n.
func (c *Counter) Add(n uint64) { c.n.Add(n) }

// Load is the count.
func (c *Counter) Load() uint64 { return c.n.Load() }

type reason struct {
	event Event
	text  string
}

type counters struct {
	mu      sync.Mutex // guards what follows
	byWhy   map[reason]*Counter
	reasons [events]int
}

// Counter finds or makes the counter of an event's reason: a short word or two, in snake_case.
// Resolve once, keep the pointer.
func (r *Registry) Counter(e Event, why string) *Counter { return r.counters.get(reason{e, why}) }

func (s *counters) get(k reason) *Counter {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.byWhy[k]; c != nil {
		return c
	}
	if s.reasons[k.event] >= MaxReasons && k.text != Other {
		k.text = Other
		if c := s.byWhy[k]; c != nil {
			return c
		}
	}
	if s.byWhy == nil {
		s.byWhy = map[reason]*Counter{}
	}
	s.reasons[k.event]++
	c := new(Counter)
	s.byWhy[k] = c
	return c
}

// EachCounter calls f for every event's reasons, in a fixed order, with no lock held.
func (r *Registry) EachCounter(f func(e Event, why string, n uint64)) {
	type row struct {
		reason
		n uint64
	}
	r.counters.mu.Lock()
	rows := make([]row, 0, len(r.counters.byWhy))
	for k, c := range r.counters.byWhy {
		rows = append(rows, row{k, c.Load()})
	}
	r.counters.mu.Unlock()
	slices.SortFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(a.event, b.event), cmp.Compare(a.text, b.text))
	})
	for _, w := range rows {
		f(w.event, w.text, w.n)
	}
}
