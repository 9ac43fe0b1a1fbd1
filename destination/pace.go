package destination

import "time"

// A stream rests restFactor times as long as its last flush took, but at most maxRest. So one
// stream takes a fifth of a processor however often its proxy, or the cluster, makes it flush; a
// flush of the usual hundred keys takes less than a millisecond, and nobody notices its rest. An
// edit must be felt within a second.
const (
	restFactor = 4
	maxRest    = 500 * time.Millisecond
)

// pacer spaces the flushes of one stream. Only the stream's handler uses it.
type pacer struct {
	wake  <-chan struct{}
	timer *time.Timer // nil unless the stream rests
}

// next has a token when it is time to flush.
func (p *pacer) next() <-chan struct{} {
	if p.timer != nil {
		return nil
	}
	return p.wake
}

// rested fires at the end of the rest.
func (p *pacer) rested() <-chan time.Time {
	if p.timer == nil {
		return nil
	}
	return p.timer.C
}

// resume ends the rest.
func (p *pacer) resume() { p.timer = nil }

// measure flushes, and begins the rest.
func (p *pacer) measure(flush func() error) error {
	began := time.Now()
	err := flush()
	p.timer = time.NewTimer(min(restFactor*time.Since(began), maxRest))
	return err
}
