package destination

import "time"

// The hub rests after it has woken watchers, for as long as their streams take to flush, about; so
// half of a processor at most goes into what may wait, however much the cluster changes. What
// changes meanwhile is published together. The first change after a quiet time waits for nothing,
// and a loss never does. An edit must be felt within a second.
const (
	flushCost = 50 * time.Microsecond // of one stream, about: to encode, encrypt and write a change
	minRest   = 20 * time.Millisecond // the events of one edit or rollout arrive together
	maxRest   = 500 * time.Millisecond
)

// pacer spaces what may wait. Only the hub's goroutine uses it.
type pacer struct {
	timer *time.Timer // nil unless the hub rests
}

func (p *pacer) resting() bool { return p.timer != nil }

// rest begins a rest after so many watchers were woken.
func (p *pacer) rest(woken int) {
	p.timer = time.NewTimer(min(max(time.Duration(woken)*flushCost, minRest), maxRest))
}

// rested fires at the end of the rest.
func (p *pacer) rested() <-chan time.Time {
	if p.timer == nil {
		return nil
	}
	return p.timer.C
}

// resume ends the rest.
func (p *pacer) resume() {
	if p.timer != nil {
		p.timer.Stop()
	}
	p.timer = nil
}
