package discover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/backoff"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/health"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/route"
	"github.com/tulle-mesh/tulle/proxy/rpc"
)

// selfKey asks for what this proxy is told about itself, as long as there is a stream.
var selfKey = &api.Key{Key: &api.Key_Self{Self: &api.Self{}}}

const (
	discoverMethod     = "/tulle.destination.v1.Destination/Discover"
	discoverBackoffMin = 100 * time.Millisecond
	// The pause between two tries, give or take half of it. Of 10,000 proxies that come back
	// together the last ones wait for their next try and not for destination, which admits all in
	// 20 s: twice as long a pause leaves it idle meanwhile. While it is away they try 2,000 times a
	// second.
	discoverBackoffMax = 5 * time.Second
	// discoverBackoffWanted is the pause while somebody waits for an answer: Limits.DiscoveryWait
	// has room for it and for a dial that fails. 10,000 proxies that all have such a caller dial
	// 20,000 times a second, and handshakes are bounded by whoever accepts them.
	discoverBackoffWanted = 500 * time.Millisecond
)

// capabilities are what this proxy is able to do of what not every proxy is.
var capabilities = []string{
	api.CapabilityRequestHeaders, api.CapabilityResponseHeaders, api.CapabilityRedirect,
	api.CapabilityRewrite, api.CapabilityMirror, api.CapabilityCORS, api.CapabilityAnswer,
	api.CapabilityConfig, api.CapabilityAccessLog, api.CapabilityAccessLogFilter,
	api.CapabilityLimits, api.CapabilityOutliers, api.CapabilityLocality,
	api.CapabilityTracing, api.CapabilityTracingViz,
	api.CapabilityLeastRequest, api.CapabilityRoundRobin, api.CapabilityRandom,
	api.CapabilityConsistentHash, api.CapabilityRateLimit, api.CapabilityRetryStatuses,
	api.CapabilityHedgePercentile, api.CapabilityFaults, api.CapabilityHealthCheck,
	api.CapabilityTLSRules, api.CapabilityTCPRules, api.CapabilityConcurrency,
}

// Session keeps what destination says: one stream, on which every key that is in use is subscribed.
// What was once learned stays, however long destination is away.
type Session struct {
	Options
	inboundBudget *route.Budget // of nobody's retries

	ready atomic.Bool // destination has welcomed us at least once
	once  sync.Once   // closes met
	Met   chan struct{}
	// wanted is sent to by everybody who waits for an answer, and received from during a pause.
	wanted chan struct{}

	mu       sync.Mutex // guards everything below
	targets  *lru.LRU[string, *Target]
	inbounds *lru.LRU[uint16, *Port]
	store
	compiled map[*api.Resource]compiled // of the message that is being applied
	workload *api.Workload
	locality *api.Locality // where this proxy is; nil: unknown
	stream   *rpc.Stream   // nil while there is none
	problem  error         // why there is none
	away     bool          // a stream has ended, and no other one has been welcomed since
	welcomed bool          // the stream has been
	heardAt  time.Time     // destination's last word, of which the end of its stream is one
	outbox   []*api.DiscoverRequest
	mail     chan struct{} // holds one: there is something in the outbox
	healths
	lending
}

// Options are what discovery needs from others.
type Options struct {
	Cfg      config.Config
	Client   *rpc.Client
	Version  string
	Log      *slog.Logger
	Failures *metric.Counter
	Metrics  *metric.Registry // where clusters are counted
	// Identified returns once this proxy has an SVID: destination asks for it.
	Identified func(context.Context) error
	// Attach makes what an endpoint's users keep with it.
	Attach func() any
	// Configure takes what this proxy is told about itself, nil for nothing, or says why it cannot
	// be used. It must not block.
	Configure func(*api.Config) error
	// Checked has a port of the workload's checked; nil: no longer. It must not block.
	Checked func(uint16, *health.Check)
	// Limited is where a rate limit is counted.
	Limited func(metric.RateLimit) *metric.LimitCounts
	// Applied is told what follows from new endpoints, in the session's goroutine and with no lock
	// held.
	Applied func(balance.Change)
}

// New makes a session; nothing runs before Run.
func New(o Options) *Session {
	d := &Session{
		Options:       o,
		store:         newStore(),
		mail:          make(chan struct{}, 1),
		Met:           make(chan struct{}),
		wanted:        make(chan struct{}),
		inboundBudget: route.NewBudget(nil),
	}
	// The sizes are positive: no errors.
	d.targets, _ = lru.NewLRU(d.Cfg.Limits.MaxTargets, d.evictTargetLocked)
	d.inbounds, _ = lru.NewLRU(math.MaxUint16+1, d.evictPortLocked) // evictUnserved bounds it
	return d
}

func (d *Session) subscribeLocked(key *api.Key) {
	d.sendLocked(
		&api.DiscoverRequest{
			Message: &api.DiscoverRequest_Subscribe{Subscribe: &api.Subscribe{Key: key}},
		},
	)
}

func (d *Session) unsubscribeLocked(key *api.Key) {
	d.sendLocked(
		&api.DiscoverRequest{
			Message: &api.DiscoverRequest_Unsubscribe{Unsubscribe: &api.Unsubscribe{Key: key}},
		},
	)
}

// sendLocked queues a request; mu is held, so it must not wait for destination. Without a stream
// nothing is lost: a new one begins with every subscription. The outbox is bounded by the keys.
func (d *Session) sendLocked(m *api.DiscoverRequest) {
	if d.stream == nil {
		return
	}
	d.outbox = append(d.outbox, m)
	select {
	case d.mail <- struct{}{}:
	default:
	}
}

// post sends what is queued, until the stream ends.
func (d *Session) post(s *rpc.Stream, done <-chan struct{}) {
	again := time.NewTicker(backoff.Around(api.HealthRefresh))
	defer again.Stop()
	var demands demandTicker
	defer demands.stop()
	for {
		select {
		case <-d.mail:
		case <-again.C:
			d.repeatHealth()
			again.Reset(backoff.Around(api.HealthRefresh))
		case <-demands.due():
			d.sayDemands()
		case <-done:
			return
		}
		d.mu.Lock()
		list := d.outbox
		d.outbox = nil
		demands.need(len(d.loans) > 0)
		d.mu.Unlock()
		for _, m := range list {
			if err := s.Send(m); err != nil {
				return // follow sees the same, and reports it
			}
		}
	}
}

// Run keeps a stream to destination until ctx ends.
func (d *Session) Run(ctx context.Context) {
	retry := backoff.Backoff{Min: discoverBackoffMin, Max: discoverBackoffMax}
	for ctx.Err() == nil {
		began := time.Now()
		err := d.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		wait := retry.After(began)
		d.Failures.Inc()
		d.Log.Log(ctx, d.lost(), "the stream to destination ended", "err", err, "retry", wait)
		d.pause(ctx, wait)
	}
}

// lost notes that destination is away, and is the level at which that is news: while it is, a proxy
// tries anew twice a second for whoever waits.
func (d *Session) lost() slog.Level {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.away {
		return slog.LevelDebug
	}
	d.away = true
	return slog.LevelInfo
}

// backLocked notes that destination answers.
func (d *Session) backLocked() {
	if d.away {
		d.away = false
		d.Log.Info("destination is back", "addr", d.Cfg.Destination.Addr)
	}
}

// pause waits until the next stream is due: after so long, or about discoverBackoffWanted after
// somebody began to wait for an answer.
func (d *Session) pause(ctx context.Context, wait time.Duration) {
	due := time.NewTimer(wait)
	defer due.Stop()
	var sooner <-chan time.Time
	for wanted := d.wanted; ; {
		select {
		case <-due.C:
			return
		case <-sooner:
			return
		case <-ctx.Done():
			return
		case <-wanted:
			wanted, sooner = nil, time.After(backoff.Around(discoverBackoffWanted))
		}
	}
}

// await waits until destination has answered or ctx ends. A session that pauses meanwhile comes
// back sooner.
func (d *Session) await(ctx context.Context, answered <-chan struct{}) {
	for {
		select {
		case <-answered:
			return
		case <-ctx.Done():
			return
		case d.wanted <- struct{}{}:
		}
	}
}

// follow opens one stream and applies what it brings.
func (d *Session) follow(ctx context.Context) error {
	if err := d.Identified(ctx); err != nil {
		return err
	}
	s, err := d.Client.Open(ctx, discoverMethod)
	if err != nil {
		d.setStream(nil, err)
		return fmt.Errorf("open a stream to destination at %s: %w", d.Cfg.Destination.Addr, err)
	}
	done := make(chan struct{})
	var sender sync.WaitGroup
	defer sender.Wait()
	defer s.Close()
	defer close(done)
	if err := d.greet(s); err != nil {
		return err
	}
	sender.Go(func() { d.post(s, done) })
	for {
		m := &api.DiscoverResponse{}
		if err := s.Recv(m); err != nil {
			d.setStream(nil, err)
			return fmt.Errorf("receive from destination: %w", err)
		}
		d.Apply(m)
	}
}

// greet says hello, subscribes to all that is in use and names all that is held.
func (d *Session) greet(s *rpc.Stream) error {
	hello := &api.Hello{Version: d.Version, Capabilities: capabilities}
	m := &api.DiscoverRequest{Message: &api.DiscoverRequest_Hello{Hello: hello}}
	if err := s.Send(m); err != nil {
		return fmt.Errorf("greet destination: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.beginLocked(s)
	return nil
}

// beginLocked fills the outbox of a new stream.
func (d *Session) beginLocked(s *rpc.Stream) {
	d.stream, d.problem, d.outbox, d.heard, d.welcomed = s, nil, nil, false, false
	d.lending.beginLocked()
	clear(d.parts)
	d.subscribeLocked(selfKey)
	for _, t := range d.targets.Values() {
		d.subscribeLocked(t.key)
	}
	for _, in := range d.inbounds.Values() {
		d.subscribeLocked(in.key)
	}
	for name := range d.kept {
		d.subscribeLocked(clusterKey(name))
	}
	for _, r := range d.resume() {
		d.sendLocked(&api.DiscoverRequest{Message: &api.DiscoverRequest_Resume{Resume: r}})
	}
}

func (d *Session) setStream(s *rpc.Stream, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.welcomed {
		d.heardAt, d.welcomed = time.Now(), false
	}
	d.stream, d.problem = s, err
}

// Status says why destination has not answered yet; nil once it has.
func (d *Session) Status() error {
	if d.ready.Load() {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.problem != nil {
		return fmt.Errorf("destination at %s: %w", d.Cfg.Destination.Addr, d.problem)
	}
	return errors.New("waiting for destination at " + d.Cfg.Destination.Addr)
}

// Apply takes one message of destination. What waited for it goes on afterwards, without the lock.
func (d *Session) Apply(m *api.DiscoverResponse) {
	var ch balance.Change
	made := d.compile(m.GetResources().GetResources())
	d.mu.Lock()
	d.compiled, d.heardAt = made, time.Now()
	switch m := m.Message.(type) {
	case *api.DiscoverResponse_Welcome:
		d.backLocked()
		d.welcomed = true
		d.workload = m.Welcome.GetWorkload()
		ch = d.moveLocked(m.Welcome.GetLocality())
		d.ready.Store(true)
		d.once.Do(func() { close(d.Met) })
	case *api.DiscoverResponse_Invalid:
		d.applyInvalidLocked(m.Invalid)
	case *api.DiscoverResponse_Share:
		d.applyShareLocked(m.Share)
	case *api.DiscoverResponse_Resources:
		ch = d.applyAllLocked(m.Resources.GetResources())
		d.heardLocked()
	default:
		d.Log.Warn("destination sent a message of a kind that this proxy does not know")
	}
	d.compiled = nil
	d.mu.Unlock()
	ch.Finish()
	d.Applied(ch)
}

// applyInvalidLocked: destination will not answer for this key. That is an answer: nothing is known
// by that name.
func (d *Session) applyInvalidLocked(m *api.Invalid) {
	d.Log.Warn("destination refuses a key", "key", api.KeyString(m.GetKey()), "reason",
		m.GetReason())
	if t, ok := d.targets.Peek(api.KeyString(m.GetKey())); ok && t.latest.Load() == nil {
		t.set(&Answer{Route: route.Unknown(t.budget)})
	}
	if in, ok := d.inbounds.Peek(uint16(m.GetKey().GetInboundPort())); ok {
		in.refuse()
	}
}

// rejectLocked tells destination that a resource cannot be used, and why. The last good one of its
// name holds.
func (d *Session) rejectLocked(m *api.Resource, err error) {
	d.Log.Error("cannot use what destination sent, keeping the last one", "kind", m.Kind, "name",
		m.Name, "err", err)
	if len(d.outbox) > api.MaxKeys {
		return // a destination that says nothing else, and reads nothing
	}
	reason := err.Error()
	reason = strings.ToValidUTF8(reason[:min(len(reason), api.MaxReason)], "")
	rejected := &api.Rejected{Kind: m.Kind, Name: m.Name, Version: m.Version, Reason: reason}
	d.sendLocked(&api.DiscoverRequest{
		Message: &api.DiscoverRequest_Rejected{Rejected: rejected},
	})
}

// connected reports whether there is somebody to answer.
func (d *Session) connected() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stream != nil
}

// Self is the workload that destination takes us for.
func (d *Session) Self() *api.Workload {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.workload
}

// defaults are for a cluster of which nobody says anything else.
func (d *Session) defaults() balance.Params {
	l := &d.Cfg.Limits
	limits := balance.Limits{
		MaxQueue:      l.MaxOwnQueue,
		MaxHTTP1Conns: l.MaxHTTP1Conns,
		MaxHTTP2Conns: l.MaxHTTP2Conns,
		DialTimeout:   l.DialTimeout,
		DialElsewhere: l.DialElsewhere,
		Handshake:     l.HandshakeTimeout,
		Rest:          l.EndpointRest,
		RestMax:       l.EndpointRestMax,
	}
	return balance.Params{
		Initial: l.EWMADefaultRTT, Decay: l.EWMADecay, Own: d.locality, Limits: limits,
	}
}
