package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// tally waits until each of some proxies has seen something, and knows when it was.
type tally struct {
	what string
	done chan struct{} // closed when nobody is missing

	mu      sync.Mutex        // guards what follows
	at      map[int]time.Time // when a proxy saw it; zero: not yet
	missing int
}

func newTally(what string, proxies []int) *tally {
	t := &tally{what: what, done: make(chan struct{}), at: map[int]time.Time{}}
	for _, p := range proxies {
		t.at[p] = time.Time{}
	}
	if t.missing = len(t.at); t.missing == 0 {
		close(t.done)
	}
	return t
}

// mark says that a proxy has seen it now. Only the first time counts.
func (t *tally) mark(proxy int) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, waited := t.at[proxy]; !waited || !at.IsZero() {
		return
	}
	t.at[proxy] = now
	if t.missing--; t.missing == 0 {
		close(t.done)
	}
}

// wait returns when nobody is missing, or says how many are.
func (t *tally) wait(ctx context.Context, longest time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	select {
	case <-t.done:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Errorf("%d of %d proxies have not seen %s within %v", t.missing, len(t.at), t.what,
		longest)
}

// since is how long each took from a moment on, sorted.
func (t *tally) since(begin time.Time) []time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]time.Duration, 0, len(t.at))
	for _, at := range t.at {
		out = append(out, at.Sub(begin))
	}
	slices.Sort(out)
	return out
}

// percentile of what is sorted.
func percentile(all []time.Duration, p float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	return all[min(len(all)-1, int(float64(len(all))*p/100))]
}

// median of some figures, which it sorts.
func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}
