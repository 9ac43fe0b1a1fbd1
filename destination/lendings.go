package destination

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/destination/api"
)

const (
	// settleEvery is the least time between two looks at who needs what.
	settleEvery = 250 * time.Millisecond
	// renewEvery is how often what is lent is looked at where nobody has said anything.
	renewEvery = 5 * time.Second
)

// lendings are the rate limits that proxies with streams here lend each other, by pool. Those of
// another replica's streams are lent there.
type lendings struct {
	wake chan struct{} // holds one token while due is not empty

	mu    sync.Mutex // guards what follows, and all members
	pools map[string]*lending
	due   map[string]struct{} // in which somebody has spoken
}

func newLendings() *lendings {
	return &lendings{wake: make(chan struct{}, 1), pools: map[string]*lending{},
		due: map[string]struct{}{}}
}

// hear takes what a member says.
func (l *lendings) hear(m *sharer, d *api.Demand) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.pools[d.Pool]
	if p == nil {
		p = &lending{}
		l.pools[d.Pool] = p
	}
	p.hear(m, d, time.Now())
	l.markLocked(d.Pool)
}

// leave is for a member whose stream has ended, or that has no share any longer.
func (l *lendings) leave(pool string, m *sharer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m.gone = true
	l.markLocked(pool)
}

func (l *lendings) markLocked(pool string) {
	l.due[pool] = struct{}{}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run tells members what is new for them, until the context ends.
func (l *lendings) run(ctx context.Context) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-l.wake:
			l.settle(false)
		case <-tick.C:
			l.settle(true)
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(settleEvery):
		case <-ctx.Done():
			return
		}
	}
}

// settle looks at the pools in which somebody has spoken, or else in which anything is lent.
func (l *lendings) settle(all bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, p := range l.pools {
		if _, due := l.due[name]; !due && !(all && p.isActive()) {
			continue
		}
		p.settle(time.Now(), func(m *sharer, s *api.Share) {
			s.Port, s.Pool = m.port, name
			m.tell(s)
		})
		if len(p.members) == 0 {
			delete(l.pools, name)
		}
	}
	clear(l.due)
}

// borrowers is how many proxies have more than their own share now.
func (l *lendings) borrowers() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.pools {
		for _, m := range p.members {
			if !m.gone && m.borrows(time.Now()) > 0 {
				n++
			}
		}
	}
	return n
}

func (l *lendings) register(metrics prometheus.Registerer) {
	metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tulle_destination_rate_limit_borrowers",
		Help: "Proxies, by limit, that have more of a rate limit than their share, for others do" +
			" without.",
	}, func() float64 { return float64(l.borrowers()) }))
}

// demand keeps what the proxy says until the next flush. mu is held.
func (s *stream) demand(m *api.Demand) error {
	if len(m.GetPool()) != api.PoolLen || m.GetSequence() == 0 {
		return status.Errorf(codes.InvalidArgument,
			"Demand needs a pool that an Inbound has named, and a sequence")
	}
	if s.said.demands == nil {
		s.said.demands = map[string]*api.Demand{}
	}
	s.said.demands[m.Pool] = m
	if len(s.said.demands) > api.MaxLendings {
		return status.Errorf(codes.ResourceExhausted, "Demand of more than %d rate limits at once",
			api.MaxLendings)
	}
	return nil
}

// lend hears what the proxy needs of limits of which it has a share, and lets it go where it has
// none any longer.
func (s *stream) lend(demands map[string]*api.Demand) {
	for pool, m := range s.view.members {
		if s.ownShare(m.port, pool) == 0 {
			s.lendings.leave(pool, m)
			delete(s.view.members, pool)
		}
	}
	for pool, d := range demands {
		own := s.ownShare(d.Port, pool)
		if own == 0 {
			continue // the proxy does not know yet
		}
		m := s.view.members[pool]
		if m == nil {
			m = &sharer{own: own, port: d.Port, tell: s.tell}
			if s.view.members == nil {
				s.view.members = map[string]*sharer{}
			}
			s.view.members[pool] = m
		}
		s.lendings.hear(m, d)
	}
}

// ownShare is what the proxy has of a limit without loans; 0: it has no part in that.
func (s *stream) ownShare(port uint32, pool string) uint64 {
	key := &api.Key{Key: &api.Key_InboundPort{InboundPort: port}}
	r, withheld := s.wanted(resourceID{api.Kind_KIND_INBOUND, api.KeyString(key)})
	if r == nil || withheld != "" {
		return 0
	}
	in := r.snapshot.GetInbound()
	for _, l := range in.GetLendings() {
		if l.Pool == pool {
			return in.RateLimits[l.Limit].Requests
		}
	}
	return 0
}

// tell has the proxy told with the next flush.
func (s *stream) tell(m *api.Share) {
	s.mu.Lock()
	if s.said.shares == nil {
		s.said.shares = map[string]*api.Share{}
	}
	s.said.shares[m.Pool] = m
	s.mu.Unlock()
	s.watcher.notify()
}

func (s *stream) sendShares(all map[string]*api.Share) error {
	for pool, m := range all {
		if s.view.members[pool] == nil {
			continue
		}
		if err := s.send(&api.DiscoverResponse{
			Message: &api.DiscoverResponse_Share{Share: m},
		}); err != nil {
			return err
		}
	}
	return nil
}

// poolOf is the same for all proxies of a Service's pods that have the same share of a limit.
func poolOf(limit *api.RateLimit, front frontPort) string {
	text, _ := proto.MarshalOptions{Deterministic: true}.Marshal(limit) // as it is of every message
	h := sha256.New()
	h.Write(text)
	h.Write([]byte("\x00" + front.service.Key().String() + "\x00" + front.port.Name))
	return hex.EncodeToString(h.Sum(nil))[:api.PoolLen]
}
