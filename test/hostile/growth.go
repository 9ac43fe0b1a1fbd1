package main

import (
	"context"
	"sync"
	"time"
)

// calm waits until the proxies have given back most of what the row before made them take, as they
// do within seconds.
func (r *row) calm(rest []int, growth int) {
	until := time.Now().Add(calmWait)
	for ; time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		most := 0
		for i, n := range resident(r.procs) {
			most = max(most, n-rest[i])
		}
		if most < growth {
			return
		}
	}
}

// growth is how far above from any of the row's proxies went while f ran.
func (r *row) growth(from []int, f func()) (most int) {
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		t := time.NewTicker(10 * time.Millisecond)
		defer t.Stop()
		for {
			for i, n := range resident(r.procs) {
				most = max(most, n-from[i])
			}
			select {
			case <-ctx.Done():
				return
			case <-t.C:
			}
		}
	})
	f()
	cancel()
	watching.Wait()
	return most
}
