package balance

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

// ewma is an endpoint's load: a peak-sensitive, exponentially decaying mean of its latency, times
// what is pending there (Finagle's Peak EWMA, with linkerd2-proxy's constants). A slow answer
// raises it at once; it falls only with time, and reading it lets it fall too, so that an endpoint
// nobody picks is tried again.
type ewma struct {
	pending atomic.Int64
	mu      sync.Mutex // guards rtt and at
	rtt     float64    // nanoseconds
	at      time.Time
	sampled bool // rtt is of the endpoint's own
}

// Params come from the cluster.
type Params struct {
	Initial time.Duration // the latency of an endpoint before its first sample
	Decay   time.Duration // how fast what was measured is forgotten

	Balancer *Balancer     // nil: EWMA alone
	Own      *api.Locality // where this proxy is; nil: nobody knows
	Place    *Place        // nil: it does not matter where endpoints are
	Limits
	Outliers *Outliers       // nil: nobody is ejected
	Bounds   *Bounds         // nil: none
	Counts   *metric.Cluster // of what the two do; nil without them
}

// Limits bound what a cluster's users may have of each of its endpoints.
type Limits struct {
	MaxQueue      int           // who may wait for a connection or a stream
	MaxHTTP1Conns int           // connections, each for one request at a time
	MaxHTTP2Conns int           // connections, but for those without room for another request
	DialTimeout   time.Duration // of one dial
	DialElsewhere time.Duration // of one dial, while another endpoint is there
	Handshake     time.Duration // of one TLS handshake
	Rest          time.Duration // after a dial that failed, while another endpoint is there
	RestMax       time.Duration // after many that failed
}

func (e *ewma) reset(p Params, now time.Time) {
	e.mu.Lock()
	e.rtt, e.at, e.sampled = float64(p.Initial), now, false
	e.mu.Unlock()
}

// observe takes one latency.
func (e *ewma) observe(d time.Duration, p Params, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	o := float64(d)
	if o > e.rtt {
		e.rtt = o
	} else {
		w := weight(now.Sub(e.at), p.Decay)
		e.rtt = e.rtt*w + o*(1-w)
	}
	e.at, e.sampled = now, true
}

// maxFailureCost is as much as failures alone may raise an estimate to (Linkerd's penalty).
const maxFailureCost = 5 * time.Second

// fail takes the latency of a failure. It says nothing good: an endpoint that fails is often the
// fastest of all, and would draw every request. So it doubles the estimate, from at least the
// initial one.
func (e *ewma) fail(d time.Duration, p Params, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rtt *= weight(now.Sub(e.at), p.Decay)
	cost := min(max(2*e.rtt, float64(p.Initial)), float64(maxFailureCost))
	e.rtt, e.at = max(cost, float64(d), e.rtt), now
}

// outlast takes what a latency is more than. That can only raise the estimate.
func (e *ewma) outlast(d time.Duration, p Params, now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.rtt *= weight(now.Sub(e.at), p.Decay)
	e.rtt, e.at = max(e.rtt, float64(d)), now
}

// load is the cost of sending one more request.
func (e *ewma) load(p Params, now time.Time) float64 {
	return e.latency(p.Decay, now) * float64(e.pending.Load()+1)
}

// loadOf is load for an endpoint of more or less than the mean share: what is pending counts for
// so much less or more.
func (e *ewma) loadOf(share float64, p Params, now time.Time) float64 {
	return e.latency(p.Decay, now) * (float64(e.pending.Load())/share + 1)
}

// latency is the estimate of the moment.
func (e *ewma) latency(decay time.Duration, now time.Time) float64 {
	e.mu.Lock()
	e.rtt *= weight(now.Sub(e.at), decay)
	e.at = now
	rtt := e.rtt
	e.mu.Unlock()
	return rtt
}

func weight(elapsed, decay time.Duration) float64 {
	if elapsed <= 0 {
		return 1
	}
	return math.Exp(-float64(elapsed) / float64(decay))
}

// pickFaster chooses by the power of two choices: of two endpoints at random, the one with the
// lower load.
func (s *EndpointSet) pickFaster(k Key) *Endpoint {
	n := len(s.All)
	a := s.All[s.intN(n)]
	b := s.All[s.intN(n-1)]
	if b == a {
		b = s.All[n-1]
	}
	aOK, bOK := wants(a, k), wants(b, k)
	switch {
	case aOK && bOK:
		if b.ewma.load(s.Params, k.Now) < a.ewma.load(s.Params, k.Now) {
			return b
		}
		return a
	case aOK:
		return a
	case bOK:
		return b
	}
	return s.pickReady(k)
}

// weightedEWMA is pickFaster for endpoints of different shares. Two are drawn in proportion, so
// that of those that are as fast as each other and idle each has its share.
type weightedEWMA struct{}

func (weightedEWMA) pick(s *EndpointSet, k Key) *Endpoint {
	if s.even(k.Now) {
		return s.pickFaster(k)
	}
	var best *Endpoint
	var least float64
	for range 2 {
		i := s.draw(k.Now)
		e := s.All[i]
		if !wants(e, k) {
			continue
		}
		load := e.ewma.loadOf(s.share(i, k.Now), s.Params, k.Now)
		if best == nil || load < least {
			best, least = e, load
		}
	}
	if best == nil {
		return s.pickReady(k)
	}
	return best
}

// mostPeers bounds whom a newcomer's latency is guessed from.
const mostPeers = 64

// medianLatency is the median of what the endpoints have taken, or otherwise if none has answered
// yet. A newcomer is taken to be like its peers: one that is taken to be slow is not asked for as
// long as that needs to decay, and one that is taken to be fast is asked by all proxies at once.
func (s *EndpointSet) medianLatency(now time.Time, otherwise time.Duration) time.Duration {
	var known []float64
	step := max(1, len(s.All)/mostPeers)
	for i := 0; i < len(s.All); i += step {
		if d, ok := s.All[i].ewma.known(s.Params, now); ok {
			known = append(known, d)
		}
	}
	if len(known) == 0 {
		return otherwise
	}
	slices.Sort(known)
	return time.Duration(known[len(known)/2])
}

// known is the estimate, if it is the endpoint's own. It does not change it.
func (e *ewma) known(p Params, now time.Time) (d float64, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.rtt * weight(now.Sub(e.at), p.Decay), e.sampled
}
