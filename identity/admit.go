package identity

import (
	"context"
	"net/netip"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

const (
	// maxInFlight is how many calls of Certify are answered at once. Each is one TokenReview and
	// one signature; more of them would only queue at the API server, which others need as well.
	maxInFlight = 128
	// perSourceRate and perSourceBurst limit the calls of one address, per second and at once. An
	// address is a pod, which asks once per half-life of its certificate and retries once a second,
	// or behind a NAT all pods of a node.
	perSourceRate  = 2
	perSourceBurst = 50
	// maxSources is how many addresses are remembered. A forgotten one starts with a full burst.
	maxSources = 8192
	// maxCalls and maxCallsPerSource bound the open calls, in all and of one address. Nearly all of
	// them are streams of Bundles, of which a proxy holds one. All pods of a node (110 by default)
	// fit behind one address several times.
	maxCalls          = 20000
	maxCallsPerSource = 512
)

// admission decides which calls are looked at.
type admission struct {
	inFlight chan struct{}
	// nil: every caller has the same address (dev mode)
	sources *lru.Cache[netip.Addr, *rate.Limiter]

	most  int        // open calls
	mu    sync.Mutex // guards the two below
	calls map[netip.Addr]int
	open  int
}

// newAdmission admits most open calls.
func newAdmission(most int, perSource bool) (*admission, error) {
	a := &admission{
		inFlight: make(chan struct{}, maxInFlight), calls: map[netip.Addr]int{}, most: most,
	}
	if !perSource {
		return a, nil
	}
	var err error
	a.sources, err = lru.New[netip.Addr, *rate.Limiter](maxSources)
	return a, err
}

// enter says whether a call may go on; the caller then calls leave.
func (a *admission) enter(source netip.Addr) error {
	if a.sources != nil && !a.limiter(source).Allow() {
		return status.Errorf(codes.ResourceExhausted,
			"too many calls from %s: at most %d a second are answered", source, perSourceRate)
	}
	select {
	case a.inFlight <- struct{}{}:
		return nil
	default:
		return status.Errorf(codes.ResourceExhausted,
			"identity is busy with %d calls: try again", maxInFlight)
	}
}

func (a *admission) leave() { <-a.inFlight }

// enterCall counts a call from its headers on, whether or not it ever says what it wants; leave
// ends it.
func (a *admission) enterCall(ctx context.Context) (leave func(), err error) {
	source := sourceOf(ctx)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open >= a.most || a.sources != nil && a.calls[source] >= maxCallsPerSource {
		return nil, status.Errorf(codes.ResourceExhausted,
			"too many calls from %s or in all: try again", source)
	}
	a.open++
	a.calls[source]++
	return func() { a.leaveCall(source) }, nil
}

func (a *admission) leaveCall(source netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open--
	if a.calls[source]--; a.calls[source] == 0 {
		delete(a.calls, source)
	}
}

// openCalls is a figure for /metrics.
func (a *admission) openCalls() float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return float64(a.open)
}

func (a *admission) limiter(source netip.Addr) *rate.Limiter {
	fresh := rate.NewLimiter(perSourceRate, perSourceBurst)
	if old, ok, _ := a.sources.PeekOrAdd(source, fresh); ok {
		a.sources.Get(source) // make it the most recent
		return old
	}
	return fresh
}

// sourceOf is the caller's address, the zero one where the listener has none.
func sourceOf(ctx context.Context) netip.Addr {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return netip.Addr{}
	}
	at, err := netip.ParseAddrPort(p.Addr.String())
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap()
}
