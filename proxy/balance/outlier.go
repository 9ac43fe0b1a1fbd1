package balance

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// Outliers say which endpoints are kept from requests, and for how long. Linkerd's circuit breaking
// is where consecutive failures, the success rate and the probation come from
// (linkerd2-proxy/linkerd/app/outbound/src/http/breaker), Envoy's outlier detection where the
// deviation and the bound on how many do.
type Outliers struct {
	Consecutive int        // failures in a row that eject; 0: it is not judged by them
	Rate        *Rate      // nil: not judged by it
	Deviation   *Variation // nil: not judged by it
	Base, Max   time.Duration
	MaxPercent  int  // of the endpoints that may be ejected
	DryRun      bool // nobody is
}

// Rate is a success rate within a sliding window.
type Rate struct {
	Percent     int // below it an endpoint is ejected
	Window      time.Duration
	MinRequests int
}

// Variation is how far below the others' mean an endpoint's success rate may be.
type Variation struct {
	Factor       float64 // of the standard deviation
	Interval     time.Duration
	MinEndpoints int // that had as many requests
	MinRequests  int
}

// Verdict is how a try went, as far as it says something about its endpoint.
type Verdict uint8

const (
	Good    Verdict = iota
	Limited         // it has had enough: that lowers its success rate, and it works
	Bad
)

// history is how an endpoint has been doing. An endpoint has one from its first verdict on, where
// its cluster has outlier detection.
type history struct {
	// Since epoch; 0: never. While the first is set the endpoint is ejected: until then it gets no
	// requests, and from then on one. The second is when it is over that it asked for.
	until, restUntil atomic.Int64

	// The cluster's detector guards these.
	episode  uint32 // how often it was ejected: which probes are of the present time
	doubled  int    // how often the next ejection's time is
	returned int64  // when it came back, since epoch

	mu       sync.Mutex // guards what follows; taken after the detector's
	failures int        // in a row
	window   slidingWindow
	interval tally // of the deviation
}

type tally struct{ good, all uint32 }

// since is a monotonic time; a wall clock that is set must not change how long an ejection is.
func since(now time.Time) int64 { return int64(now.Sub(epoch)) }

// ready reports whether requests may come: its ejection is over and was followed by a success, and
// so is the time that it asked for.
func (h *history) ready(at int64) bool {
	return h == nil || h.until.Load() == 0 && h.restUntil.Load() <= at
}

func (h *history) ejected() bool { return h != nil && h.until.Load() != 0 }

// history is the endpoint's, made at its first verdict.
func (e *Endpoint) history() *history {
	if h := e.health.history.Load(); h != nil {
		return h
	}
	e.health.history.CompareAndSwap(nil, new(history))
	return e.health.history.Load()
}

// Judged reports whether anybody wants verdicts on the endpoint.
func (e *Endpoint) Judged() bool { return e.cluster.Current().Params.Outliers != nil }

// Judge takes how a try went. probe is Take's. What is said of an endpoint while it is ejected
// counts for its probe alone (Linkerd). It returns whom that ejects or brings back: nearly always
// nobody.
func (e *Endpoint) Judge(v Verdict, probe uint32, now time.Time) []Ejection {
	o := e.cluster.Current().Params.Outliers
	if o == nil {
		return nil
	}
	h, at := e.history(), since(now)
	if h.ejected() {
		if probe == 0 {
			return nil
		}
		return e.cluster.probed(e, v, probe, at)
	}
	var all []Ejection
	if why, due := h.take(v, o, at); due {
		all = e.cluster.eject(e, why, at)
	} else {
		e.cluster.watch(e, v, at)
	}
	if o.Deviation != nil {
		all = append(all, e.cluster.sweep(o.Deviation, at)...)
	}
	return all
}

// take counts a verdict, and reports whether it is one too many. What was counted is forgotten
// then, whether the ejection is possible or not (Envoy): the next one needs as much again.
func (h *history) take(v Verdict, o *Outliers, at int64) (why metric.EjectionCause, due bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failures++; v != Bad {
		h.failures = 0
	}
	h.interval.add(v)
	low := o.Rate != nil && h.window.take(v, o.Rate, at)
	switch {
	case o.Consecutive > 0 && h.failures >= o.Consecutive:
		why, due = metric.Consecutive, true
	case low:
		why, due = metric.SuccessRate, true
	}
	if due {
		h.failures, h.window = 0, slidingWindow{}
	}
	return why, due
}

// clear forgets what was counted: who comes back begins anew.
func (h *history) clear() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failures, h.window, h.interval = 0, slidingWindow{}, tally{}
}

func (t *tally) add(v Verdict) {
	t.all++
	if v == Good {
		t.good++
	}
}

// slices of a window, and the shortest that one may be (Linkerd's).
const (
	windowSlices = 10
	minSlice     = time.Millisecond
)

// slidingWindow counts what came within a window that slides, by a tenth of it at a time.
type slidingWindow struct {
	width int64 // of a slice, nanoseconds
	last  int64 // the number of the present slice
	slice [windowSlices]tally
}

// take counts a verdict, and reports whether too few are good.
func (r *slidingWindow) take(v Verdict, rate *Rate, at int64) (low bool) {
	r.roll(max(rate.Window/windowSlices, minSlice), at)
	r.slice[r.last%windowSlices].add(v)
	var sum tally
	for _, s := range r.slice {
		sum.good += s.good
		sum.all += s.all
	}
	return int64(sum.all) >= int64(rate.MinRequests) &&
		uint64(sum.good)*100 < uint64(rate.Percent)*uint64(sum.all)
}

// roll clears the slices that time has walked over. A reader whose clock is a little behind counts
// in the present one.
func (r *slidingWindow) roll(width time.Duration, at int64) {
	if r.width != int64(width) {
		*r = slidingWindow{width: int64(width), last: at / int64(width)}
	}
	now := at / r.width
	if now-r.last >= windowSlices {
		r.slice, r.last = [windowSlices]tally{}, now
	}
	for r.last < now {
		r.last++
		r.slice[r.last%windowSlices] = tally{}
	}
}

// MaxPushback bounds the time for which an endpoint may ask to be left alone (Envoy's and
// Linkerd's bound on Retry-After).
const MaxPushback = 300 * time.Second

// Pushback passes the endpoint over for a time that it asked for, while another is there.
func (e *Endpoint) Pushback(d time.Duration, now time.Time) {
	if o := e.cluster.Current().Params.Outliers; o == nil || o.DryRun || d <= 0 {
		return
	}
	until := since(now) + int64(min(d, MaxPushback))
	if h := e.history(); until > h.restUntil.Load() {
		h.restUntil.Store(until)
	}
}
