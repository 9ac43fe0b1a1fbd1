package metric

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"weak"
)

// Concurrency is what bounds the requests that are under way at a port of the application.
type Concurrency struct {
	Limit   atomic.Int64 // a gauge: requests
	Least   atomic.Int64 // a gauge: what they take while there are few of them, in nanoseconds
	Refused Counter
}

// concurrencies are those that somebody holds: the others are the garbage collector's. There are no
// more than the workload has ports that destination was asked of at a time.
type concurrencies struct {
	mu     sync.Mutex // guards what follows
	byPort map[uint16]weak.Pointer[Concurrency]
}

// Concurrency finds or makes the counts of a port. They last as long as somebody keeps the pointer.
func (r *Registry) Concurrency(port uint16) *Concurrency {
	s := &r.concurrencies
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.byPort[port].Value(); c != nil {
		return c
	}
	if s.byPort == nil {
		s.byPort = map[uint16]weak.Pointer[Concurrency]{}
	}
	c := new(Concurrency)
	s.byPort[port] = weak.Make(c)
	return c
}

// boundPort is one as it is shown.
type boundPort struct {
	port uint16
	*Concurrency
}

// list is all that somebody holds, by port. The others are forgotten.
func (s *concurrencies) list() (all []boundPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for port, p := range s.byPort {
		if c := p.Value(); c != nil {
			all = append(all, boundPort{port, c})
		} else {
			delete(s.byPort, port)
		}
	}
	slices.SortFunc(all, func(a, b boundPort) int { return cmp.Compare(a.port, b.port) })
	return all
}

func (r *Registry) appendConcurrencies(t *Text) {
	all := r.concurrencies.list()
	if len(all) == 0 {
		return
	}
	write := func(name, help, kind string, of func(*Concurrency) float64) {
		t.Family(name, help, kind)
		for _, c := range all {
			t.Sample(name, LabelText("port", strconv.Itoa(int(c.port))), of(c.Concurrency))
		}
	}
	write("tulle_concurrency_limit", "Requests that may be under way at the application.", "gauge",
		func(c *Concurrency) float64 { return float64(c.Limit.Load()) })
	write("tulle_concurrency_baseline_seconds",
		"What requests take while few of them are under way; 0: not known.", "gauge",
		func(c *Concurrency) float64 { return time.Duration(c.Least.Load()).Seconds() })
	write("tulle_concurrency_refused_total", "Requests beyond the limit.", "counter",
		func(c *Concurrency) float64 { return float64(c.Refused.Load()) })
}
