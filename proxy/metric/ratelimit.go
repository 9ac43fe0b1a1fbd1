package metric

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
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

// LimitCounts are a rate limit's. It counts the requests that are beyond it.
type LimitCounts struct {
	Counter
	// Share is how many requests of a window the proxy admits, where that changes with what others
	// need; 0: it does not.
	Share atomic.Uint64
}

// limited are the limits that anything is beyond.
type limited struct {
	mu sync.Mutex // guards what follows
	by map[RateLimit]*LimitCounts
}

// Limited finds or makes the counts of a limit. Resolve once, keep the pointer.
func (r *Registry) Limited(l RateLimit) *LimitCounts {
	s := &r.limited
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[RateLimit]*LimitCounts{}
	}
	if s.by[l] == nil && len(s.by) >= maxLimits {
		l = RateLimit{Limit: Other, Enforced: l.Enforced}
	}
	if s.by[l] == nil {
		s.by[l] = new(LimitCounts)
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
	appendShares(t, by)
}

func appendShares(t *Text, by map[RateLimit]*LimitCounts) {
	const name = "tulle_rate_limit_share"
	first := true
	for _, l := range slices.SortedFunc(maps.Keys(by), compareLimits) {
		share := by[l].Share.Load()
		if share == 0 {
			continue
		}
		if first {
			t.Family(name, "Requests of a window that this proxy admits of a limit that proxies "+
				"lend each other.", "gauge")
			first = false
		}
		t.Sample(name, LabelText("limit", l.Limit, "namespace", l.Namespace, "policy", l.Policy),
			float64(share))
	}
}

func compareLimits(a, b RateLimit) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Policy, b.Policy),
		cmp.Compare(a.Limit, b.Limit),
		cmp.Compare(strconv.FormatBool(a.Enforced), strconv.FormatBool(b.Enforced)))
}
