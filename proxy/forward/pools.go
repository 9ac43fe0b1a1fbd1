package forward

import (
	"sync"

	"github.com/tulle-mesh/tulle/proxy/balance"
)

// pools are an endpoint's connections, made as they are needed. Copies of requests have their own:
// no request waits for a stream, or for a window, that a copy has.
type pools struct {
	mu      sync.Mutex       // guards everything below
	byKind  [2 * kinds]*pool // of requests, and then of copies
	retired bool
}

// of returns the pool of a kind, made at its first use.
func (ps *pools) of(k kind, f *Forwarder, e *balance.Endpoint) *pool { return ps.at(k, k, f, e) }

// forCopies is of, for copies of requests.
func (ps *pools) forCopies(k kind, f *Forwarder, e *balance.Endpoint) *pool {
	return ps.at(kinds+k, k, f, e)
}

func (ps *pools) at(i, k kind, f *Forwarder, e *balance.Endpoint) *pool {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.byKind[i] == nil {
		ps.byKind[i] = &pool{f: f, e: e, kind: k, retired: ps.retired}
	}
	return ps.byKind[i]
}

// retire lets the connections end: what is under way finishes, nothing new begins. It returns what
// waits.
func (ps *pools) retire() (stranded []balance.Waiter) {
	ps.mu.Lock()
	ps.retired = true
	list := ps.byKind
	ps.mu.Unlock()
	for _, p := range list {
		if p != nil {
			stranded = append(stranded, p.retire()...)
		}
	}
	return stranded
}
