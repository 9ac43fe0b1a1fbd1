package balance

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

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
}

// Params come from the cluster.
type Params struct {
	Initial time.Duration // the latency of an endpoint before its first sample
	Decay   time.Duration // how fast what was measured is forgotten
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
	e.rtt, e.at = float64(p.Initial), now
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
	e.at = now
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
	e.mu.Lock()
	e.rtt *= weight(now.Sub(e.at), p.Decay)
	e.at = now
	rtt := e.rtt
	e.mu.Unlock()
	return rtt * float64(e.pending.Load()+1)
}

func weight(elapsed, decay time.Duration) float64 {
	if elapsed <= 0 {
		return 1
	}
	return math.Exp(-float64(elapsed) / float64(decay))
}
