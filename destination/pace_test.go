package destination

import (
	"testing"
	"testing/synctest"
	"time"
)

// However often a stream is woken, its flushes take a fifth of the time at most, and those that
// cost little are not held up.
func TestFlushesArePaced(t *testing.T) {
	for _, c := range []struct {
		cost        time.Duration
		least, most int // flushes in ten seconds
	}{
		{time.Millisecond, 1900, 2001},
		{100 * time.Millisecond, 19, 21},
		{10 * time.Second, 1, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			wake := make(chan struct{}) // always ready
			close(wake)
			p, end, n := pacer{wake: wake}, time.After(10*time.Second), 0
			for done := false; !done; {
				select {
				case <-end:
					done = true
				case <-p.next():
					n++
					if err := p.measure(func() error { time.Sleep(c.cost); return nil }); err != nil {
						t.Error(err)
					}
				case <-p.rested():
					p.resume()
				}
			}
			if n < c.least || n > c.most {
				t.Errorf("%d flushes of %s in 10 s, want %d to %d", n, c.cost, c.least, c.most)
			}
		})
	}
}
