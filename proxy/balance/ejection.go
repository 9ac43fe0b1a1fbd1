package balance

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

const (
	// DefaultEjection and DefaultMaxEjection are Linkerd's: a probe costs one request, so that it
	// need not be long until the first.
	DefaultEjection, DefaultMaxEjection = time.Second, time.Minute
	// DefaultMaxEjected is half of the endpoints, percent. Envoy's is a tenth, which of less than
	// ten is nobody (envoy#27909).
	DefaultMaxEjected = 50
	// ejectionJitter is the part of an ejection that comes on top of it at most, so that the
	// proxies of a mesh do not all probe at once.
	ejectionJitter = 10
	// quiet is how long an endpoint is back for the next ejection to be half as long again (Envoy's
	// interval).
	quiet = 10 * time.Second
	// maxDoubled bounds how often an ejection is doubled; Outliers.Max has ended it long before.
	maxDoubled = 30
	// probePatience is how long one request alone may keep the others from an endpoint whose
	// ejection is over. It may be one that never ends.
	probePatience = 30 * time.Second
	// suspicion is how soon an endpoint that has failed is asked again, where so many failures in a
	// row would eject it. EWMA by itself asks it no more for a minute or so, for it takes failures
	// for slowness: until the last of them has come, callers would get them one by one. Where
	// failures do not sway the balancer (Linkerd's default, Envoy's) they come together by
	// themselves.
	suspicion = 250 * time.Millisecond
)

// detector has what a cluster's ejections have in common.
type detector struct {
	// When the first of the ejected may be probed, or the suspect be asked again, since epoch; 0:
	// there is neither.
	due   atomic.Int64
	out   atomic.Int32 // how many are ejected
	swept atomic.Int64 // when deviations were last looked for, since epoch; 0: never

	// Who failed when last asked, and is asked again sooner than EWMA would; nil: nobody.
	suspect atomic.Pointer[Endpoint]

	mu    sync.Mutex // guards who is ejected, and the rest; taken before a history's
	askAt int64      // when the suspect is asked again, since epoch
}

// Ejection is what became of an endpoint.
type Ejection struct {
	Endpoint *Endpoint
	Back     bool // it is in use again; else it was ejected, or was to be
	Cause    metric.EjectionCause
	For      time.Duration // 0: it is not ejected, for too many are, or in a dry run
}

// length is for the nth ejection, from 0: base, doubled each time, at most max.
func (o *Outliers) length(n int) time.Duration {
	d := o.Base
	for range n {
		if d >= o.Max {
			break
		}
		d *= 2
	}
	return min(d, o.Max)
}

// mayBeEjected is how many of so many endpoints may be. One always may of several, and one always
// stays.
func (o *Outliers) mayBeEjected(endpoints int) int {
	return min(max(endpoints*o.MaxPercent/100, 1), endpoints-1)
}

// eject ejects an endpoint, unless too many are by now or no other could take its place.
func (c *Cluster) eject(e *Endpoint, why metric.EjectionCause, at int64) []Ejection {
	d := &c.detector
	d.mu.Lock()
	defer d.mu.Unlock()
	s, h := c.Current(), e.history()
	o := s.Params.Outliers
	if o == nil || h.ejected() {
		return nil
	}
	x := Ejection{Endpoint: e, Cause: why}
	if !o.DryRun && s.spares(e, o, at) {
		// what was quiet meanwhile makes it shorter
		h.doubled = max(0, h.doubled-int((at-h.returned)/int64(quiet)))
		x.For = d.ejectLocked(h, o, at)
	}
	d.settleLocked(s)
	s.Params.Counts.Eject(why, x.For > 0)
	return []Ejection{x}
}

// spares reports whether the set can do without e: not too many are ejected, and another is ready.
func (s *EndpointSet) spares(e *Endpoint, o *Outliers, at int64) bool {
	out, ready := 0, false
	for _, other := range s.All {
		switch {
		case other == e:
		case other.health.ejected():
			out++
		case other.health.readyAt(at):
			ready = true
		}
	}
	return ready && out < o.mayBeEjected(len(s.All))
}

// ejectLocked keeps requests away for as long as it is an endpoint's turn to wait.
func (d *detector) ejectLocked(h *history, o *Outliers, at int64) time.Duration {
	n := o.length(h.doubled)
	n += rand.N(n/ejectionJitter + 1)
	h.doubled = min(h.doubled+1, maxDoubled)
	h.episode++
	h.until.Store(at + int64(n))
	h.clear()
	return n
}

// returnLocked ends an ejection.
func (d *detector) returnLocked(h *history, at int64) {
	h.clear()
	h.returned = at
	h.until.Store(0)
}

// settleLocked brings up to date how many are ejected, and when the first of them may be probed.
func (d *detector) settleLocked(s *EndpointSet) {
	var due int64
	var out []metric.Workload
	suspect, stays := d.suspect.Load(), false
	for _, e := range s.All {
		stays = stays || e == suspect && !e.Ejected()
		h := e.health.history.Load()
		if !h.ejected() {
			continue
		}
		out = append(out, e.workload)
		at := max(h.until.Load(), h.restUntil.Load(), e.health.until.Load())
		if due == 0 || at < due {
			due = at
		}
	}
	switch {
	case !stays:
		d.suspect.Store(nil)
	case due == 0 || d.askAt < due:
		due = d.askAt
	}
	d.due.Store(due)
	d.out.Store(int32(len(out)))
	if s.Params.Counts != nil {
		s.Params.Counts.SetEjected(out)
	}
}

// probed takes the answer of an ejected endpoint to its probe. Another verdict than a good one
// ejects it again, for longer.
func (c *Cluster) probed(e *Endpoint, v Verdict, probe uint32, at int64) []Ejection {
	d := &c.detector
	d.mu.Lock()
	defer d.mu.Unlock()
	s, h := c.Current(), e.history()
	o := s.Params.Outliers
	if o == nil || !h.ejected() || h.episode != probe {
		return nil
	}
	defer d.settleLocked(s)
	if v == Good {
		d.returnLocked(h, at)
		return []Ejection{{Endpoint: e, Back: true}}
	}
	s.Params.Counts.Eject(metric.ProbeFailure, true)
	return []Ejection{{Endpoint: e, Cause: metric.ProbeFailure, For: d.ejectLocked(h, o, at)}}
}

// Unprobed is for a probe that will not be answered: the next request is one.
func (e *Endpoint) Unprobed(probe uint32, now time.Time) {
	d := &e.cluster.detector
	d.mu.Lock()
	defer d.mu.Unlock()
	if h := e.history(); h.ejected() && h.episode == probe {
		h.until.Store(since(now))
		d.settleLocked(e.cluster.Current())
	}
}

// Take is Pick, but for endpoints that are ejected. One whose time is over is for the next request
// that has not failed elsewhere: probe is not 0 then, and whoever sends the request must say how it
// went (Judge), or that nobody will know (Unprobed). Until then others pass it by. While not all
// are ejected, Take returns no other of them.
func (c *Cluster) Take(s *EndpointSet, k Key) (e *Endpoint, probe uint32) {
	due := c.detector.due.Load()
	if due == 0 {
		return s.Pick(k), 0
	}
	if at := since(k.Now); due <= at && k.Avoid == nil {
		if e, probe = c.probe(s, at); e != nil {
			return e, probe
		}
	}
	if e = s.Pick(k); e != nil && e.Ejected() {
		e = s.pickKept(k, e)
	}
	return e, 0
}

// Ejected reports whether the endpoint is kept from requests.
func (e *Endpoint) Ejected() bool { return e.health.ejected() }

// Ejected is how many of the cluster's endpoints are kept from requests.
func (c *Cluster) Ejected() int { return int(c.detector.out.Load()) }

// watch makes a suspect of an endpoint that failed, if there is none and it may be ejected for it.
// Whoever does not fail is none any more.
func (c *Cluster) watch(e *Endpoint, v Verdict, at int64) {
	d, s := &c.detector, c.Current()
	o, suspect := s.Params.Outliers, d.suspect.Load()
	switch {
	case suspect == e && v != Bad:
		d.suspect.CompareAndSwap(e, nil)
		return
	case suspect != nil || v != Bad || o == nil || o.DryRun || o.Consecutive <= 1:
		return
	case !s.shuns() || int(d.out.Load()) >= o.mayBeEjected(len(s.All)):
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.suspect.Store(e)
	d.askAt = at + int64(suspicion)
	if due := d.due.Load(); due == 0 || d.askAt < due {
		d.due.Store(d.askAt)
	}
}

// shuns reports whether the balancer keeps away from who fails.
func (s *EndpointSet) shuns() bool {
	_, weighted := s.by.(weightedEWMA)
	return s.by == nil || weighted
}

// probe takes the ejected endpoint that has waited longest, if its time is over, and otherwise the
// suspect, if it is to be asked again.
func (c *Cluster) probe(s *EndpointSet, at int64) (first *Endpoint, probe uint32) {
	d := &c.detector
	d.mu.Lock()
	defer d.mu.Unlock()
	var earliest int64
	suspect, askAgain := d.suspect.Load(), false
	for _, e := range s.All {
		askAgain = askAgain || e == suspect && d.askAt <= at && e.health.readyAt(at)
		h := e.health.history.Load()
		if !h.ejected() || h.restUntil.Load() > at || e.health.until.Load() > at {
			continue
		}
		if until := h.until.Load(); until <= at && (first == nil || until < earliest) {
			first, earliest = e, until
		}
	}
	if first != nil {
		h := first.history()
		h.until.Store(at + int64(probePatience))
		probe = h.episode
	} else if askAgain {
		first = suspect
	}
	if d.askAt <= at {
		d.askAt = at + int64(suspicion)
	}
	d.settleLocked(c.Current())
	return first, probe
}

// pickKept is for when everything that is ready is ejected: any other, the one to avoid last.
func (s *EndpointSet) pickKept(k Key, otherwise *Endpoint) *Endpoint {
	start := rand.IntN(len(s.All))
	for i := range s.All {
		e := s.All[(start+i)%len(s.All)]
		if e != k.Avoid && !e.Ejected() {
			return e
		}
	}
	if k.Avoid != nil && !k.Avoid.Ejected() {
		return k.Avoid
	}
	return otherwise
}

// settle is for new endpoints or parameters: nobody is ejected whom there is no detection for any
// more, and of the endpoints that are left not more than may be.
func (c *Cluster) settle(s *EndpointSet, now time.Time) {
	d := &c.detector
	if d.due.Load() == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	out := s.ejectedFirst()
	may := 0
	if o := s.Params.Outliers; o != nil && !o.DryRun {
		may = max(0, o.mayBeEjected(len(s.All)))
	} else {
		d.suspect.Store(nil)
	}
	for _, e := range out[:max(0, len(out)-may)] {
		d.returnLocked(e.history(), since(now))
	}
	d.settleLocked(s)
}

// ejectedFirst lists who is ejected, the one whose time is over first before the others.
func (s *EndpointSet) ejectedFirst() (out []*Endpoint) {
	for _, e := range s.All {
		if e.Ejected() {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b *Endpoint) int {
		return cmp.Compare(a.history().until.Load(), b.history().until.Load())
	})
	return out
}

// sweep looks for endpoints that succeed much less than the others, once an interval. What was
// counted while nobody looked says nothing of today.
func (c *Cluster) sweep(v *Variation, at int64) (all []Ejection) {
	last := c.detector.swept.Load()
	passed := at - last
	if last != 0 && passed < int64(v.Interval) || !c.detector.swept.CompareAndSwap(last, at) {
		return nil
	}
	rates := c.rates(v)
	if last == 0 || passed >= 2*int64(v.Interval) {
		return nil
	}
	for _, r := range deviating(rates, v) {
		all = append(all, c.eject(r.of, metric.Deviation, at)...)
	}
	return all
}

// rate is an endpoint's success rate within an interval.
type rate struct {
	of   *Endpoint
	good float64
}

// rates are those of endpoints that had enough requests, and begins to count anew.
func (c *Cluster) rates(v *Variation) (all []rate) {
	for _, e := range c.Current().All {
		h := e.health.history.Load()
		if h == nil || h.ejected() {
			continue
		}
		h.mu.Lock()
		t := h.interval
		h.interval = tally{}
		h.mu.Unlock()
		if t.all > 0 && int64(t.all) >= int64(v.MinRequests) {
			all = append(all, rate{e, float64(t.good) / float64(t.all)})
		}
	}
	return all
}

// deviating are the rates below mean - factor*stdev, the lowest first. The standard deviation is
// the population's (Envoy, successRateEjectionThreshold in
// source/common/upstream/outlier_detection_impl.cc).
func deviating(rates []rate, v *Variation) (low []rate) {
	if len(rates) < v.MinEndpoints {
		return nil
	}
	n, sum, squares := float64(len(rates)), 0.0, 0.0
	for _, r := range rates {
		sum += r.good
	}
	for _, r := range rates {
		squares += (r.good - sum/n) * (r.good - sum/n)
	}
	threshold := sum/n - v.Factor*math.Sqrt(squares/n)
	for _, r := range rates {
		if r.good < threshold {
			low = append(low, r)
		}
	}
	slices.SortStableFunc(low, func(a, b rate) int { return cmp.Compare(a.good, b.good) })
	return low
}
