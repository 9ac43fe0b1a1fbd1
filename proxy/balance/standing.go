package balance

import (
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

// Standing is how an endpoint is doing, for people who look.
type Standing struct {
	Latency  time.Duration // the estimate of the moment (EWMA)
	Measured bool          // the estimate is of the endpoint's own answers
	Pending  int64         // requests under way there
	// Rests is how long it is passed over, for it could not be dialed, or asked for time; 0: it is
	// not.
	Rests    time.Duration
	Failures int // dials in a row that failed
	Ejected  bool
	Ejection time.Duration // of one that is ejected: so long until it is asked one request
}

// Each calls f for each endpoint of a set, with what destination has said of it.
func (s *EndpointSet) Each(now time.Time, f func(*api.Endpoint, Standing)) {
	for i, e := range s.All {
		f(s.announced[i], e.standing(s.Params, now))
	}
}

func (e *Endpoint) standing(p Params, now time.Time) Standing {
	d, measured := e.ewma.known(p, now)
	out := Standing{Latency: time.Duration(d), Measured: measured, Pending: e.Pending(),
		Failures: int(e.health.failures.Load()), Ejected: e.Ejected()}
	at, h := since(now), e.health.history.Load()
	until := e.health.until.Load()
	if h != nil {
		until = max(until, h.restUntil.Load())
		out.Ejection = max(0, time.Duration(h.until.Load()-at))
	}
	out.Rests = max(0, time.Duration(until-at))
	return out
}
