// Package backoff is how long to wait before something is done again that has failed or ended. The
// pause doubles up to a bound, begins anew after a time in which all went well, and is spread at
// random, so that those whom one outage has stopped do not all come back at once. The package waits
// for nothing itself, and has no goroutines.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Backoff is the pause of one loop. It is not for use by several goroutines at once.
type Backoff struct {
	Min, Max time.Duration // of a pause, give or take half of it

	next time.Duration // 0: Min
}

// Next is the pause after another failure.
func (b *Backoff) Next() time.Duration {
	d := min(max(b.next, b.Min), b.Max)
	b.next = 2 * d
	return Around(d)
}

// Reset begins anew: all goes well.
func (b *Backoff) Reset() { b.next = 0 }

// After is the pause after the end of something that began then. If it lived for longer than the
// longest pause, all went well.
func (b *Backoff) After(began time.Time) time.Duration {
	if time.Since(began) > b.Max {
		b.Reset()
	}
	return b.Next()
}

// Around spreads what many do after a time: it is that time, give or take half of it.
func Around(d time.Duration) time.Duration { return d/2 + rand.N(max(d, 1)) }
