package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// crowd is the proxies of identity or of viz: each makes one connection, and keeps it.
type crowd struct {
	here    *tally
	running sync.WaitGroup
	cancel  context.CancelFunc

	mu  sync.Mutex // guards why
	why error
}

// member is one of them: it says when it is here, and returns when its stream ends.
type member func(ctx context.Context, here func()) error

// retryAfter is when one that failed comes again.
const retryAfter = time.Second

// openers is how many connect at a time: proxies come with their pods, not all at once.
const openers = 64

// gather starts n members, which stay until stop.
func gather(ctx context.Context, n int, join func(i int) member) *crowd {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	c := &crowd{here: newTally("the server's answer", all)}
	ctx, c.cancel = context.WithCancel(ctx)
	turn := make(chan struct{}, openers)
	for i := range n {
		c.running.Go(func() { c.keep(ctx, i, join(i), turn) })
	}
	return c
}

// keep has a member come until it is here, and come again when its stream has ended.
func (c *crowd) keep(ctx context.Context, i int, m member, turn chan struct{}) {
	for ctx.Err() == nil {
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			return
		}
		leave := sync.OnceFunc(func() { <-turn })
		err := m(ctx, func() {
			leave()
			c.here.mark(i)
		})
		leave()
		c.mu.Lock()
		c.why = err
		c.mu.Unlock()
		select {
		case <-time.After(retryAfter):
		case <-ctx.Done():
		}
	}
}

// await waits until all are here.
func (c *crowd) await(ctx context.Context, longest time.Duration) error {
	if err := c.here.wait(ctx, longest); err != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		return fmt.Errorf("%w (the last failure: %w)", err, c.why)
	}
	return nil
}

// stop ends all and waits.
func (c *crowd) stop() {
	c.cancel()
	c.running.Wait()
}
