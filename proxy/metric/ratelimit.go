package metric

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"sync"
)

// RateLimit names a rate limit.
type RateLimit struct {
	Namespace, Policy string // the object that says it
	Limit             string // the name that it has there
	Enforced          bool   // else it is a dry run
}

// maxLimits bounds the limits that are counted apart. Destination names them, so it is reached by
// policies that come and go under ever new names; those beyond it are one.
const maxLimits = 256

// limited are the requests that are beyond limits.
type limited struct {
	mu sync.Mutex // guards what follows
	by map[RateLimit]*Counter
}

// Limited finds or makes the counter of the requests that are beyond a limit. Resolve once, keep
// the pointer.
func (r *Registry) Limited(l RateLimit) *Counter {
	s := &r.limited
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[RateLimit]*Counter{}
	}
	if s.by[l] == nil && len(s.by) >= maxLimits {
		l = RateLimit{Limit: Other, Enforced: l.Enforced}
	}
	if s.by[l] == nil {
		s.by[l] = new(Counter)
	}
	return s.by[l]
}

func (r *Registry) appendLimited(t *Text) {
	r.limited.mu.Lock()
	by := maps.Clone(r.limited.by)
	r.limited.mu.Unlock()
	if len(by) == 0 {
		return
	}
	const name = "tulle_rate_limited_total"
	t.Family(name, "Requests beyond a rate limit, which refused them if it is enforced.", "counter")
	for _, l := range slices.SortedFunc(maps.Keys(by), compareLimits) {
		t.Sample(name, LabelText("enforced", strconv.FormatBool(l.Enforced), "limit", l.Limit,
			"namespace", l.Namespace, "policy", l.Policy), float64(by[l].Load()))
	}
}

func compareLimits(a, b RateLimit) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Policy, b.Policy),
		cmp.Compare(a.Limit, b.Limit),
		cmp.Compare(strconv.FormatBool(a.Enforced), strconv.FormatBool(b.Enforced)))
}
