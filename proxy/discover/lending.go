package discover

import (
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/backoff"
)

// lending is what is said of rate limits that proxies lend each other. Destination is told of them
// only after it has said that it knows them.
type lending struct {
	loans   []*authorize.Loan
	streams uint64 // so far
}

// lendLocked looks at which limits there are to lend.
func (d *Session) lendLocked() {
	had := len(d.loans)
	d.loans = d.loans[:0]
	for _, in := range d.inbounds.Values() {
		d.loans = append(d.loans, in.Now().Limits.Loans()...)
	}
	if (had == 0) == (len(d.loans) == 0) {
		return
	}
	select {
	case d.mail <- struct{}{}: // whoever reads it sees that there are some, or none
	default:
	}
}

func (l *lending) beginLocked() {
	l.streams++
	for _, one := range l.loans {
		one.Begin()
	}
}

// sayDemands tells destination what there is to tell of how much each limit is needed.
func (d *Session) sayDemands() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.heard {
		return
	}
	for _, one := range d.loans[:min(len(d.loans), api.MaxLendings)] {
		d.sayDemandLocked(one.Demand(time.Now()))
	}
}

// sayDemandLocked says nothing if m is nil.
func (d *Session) sayDemandLocked(m *api.Demand) {
	if m != nil && len(d.outbox) <= api.MaxKeys {
		d.sendLocked(&api.DiscoverRequest{Message: &api.DiscoverRequest_Demand{Demand: m}})
	}
}

// applyShareLocked has a limit admit what destination says, and confirms that.
func (d *Session) applyShareLocked(m *api.Share) {
	for _, one := range d.loans {
		if one.Pool() == m.GetPool() {
			d.sayDemandLocked(one.Apply(m, d.streams, time.Now()))
			return
		}
	}
}

// demandTicker ticks while there is something to lend. The zero value does not.
type demandTicker struct{ *time.Ticker }

// due is when demands are to be looked at; nil: never.
func (t *demandTicker) due() <-chan time.Time {
	if t.Ticker == nil {
		return nil
	}
	return t.C
}

func (t *demandTicker) need(needed bool) {
	switch {
	case needed && t.Ticker == nil:
		t.Ticker = time.NewTicker(api.DemandEvery + backoff.Around(api.DemandEvery)/4)
	case !needed:
		t.stop()
	}
}

func (t *demandTicker) stop() {
	if t.Ticker != nil {
		t.Ticker.Stop()
		t.Ticker = nil
	}
}
