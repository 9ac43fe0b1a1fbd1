package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// backTime is for all proxies to have their answers; what takes longer is an error, not a
	// figure.
	backTime = 2 * time.Minute
	// heardTime is for a change to reach whoever watches it.
	heardTime = 30 * time.Second
	// quiet is between two changes that many watch: longer than destination rests after one.
	quiet = time.Second

	churnRate = 100 // changes a second
	churnTime = 20 * time.Second
)

// stage is destination with all its proxies.
type stage struct {
	*run
	orders orders
	child  *child
	fleet  *fleet
}

// destination is the rows that need destination with all its proxies.
func (r *run) destination(ctx context.Context) error {
	s, err := r.stage(r.shape, r.proxies)
	if err != nil {
		return err
	}
	began, back := time.Now(), s.fleet.expectBack()
	s.fleet.run(ctx)
	err = s.awaitBack(ctx, back)
	if err == nil {
		came := time.Since(began)
		err = errors.Join(r.weigh(ctx, rowDestination, s.child, r.patience(rest), came),
			s.spread(ctx, rowWatchedMany, warm), s.spread(ctx, rowWatchedAll, hot),
			s.churn(ctx), s.restart(ctx))
	}
	s.fleet.stop()
	return errors.Join(err, s.child.stop())
}

// stage starts destination, and makes the proxies that are to come.
func (r *run) stage(s shape, proxies int) (*stage, error) {
	o, err := r.serverOrders(serverDestination)
	if err != nil {
		return nil, err
	}
	o.Shape = s
	c, err := start(o)
	if err != nil {
		return nil, err
	}
	o.Listen = c.up.Addr // a restart comes back where it was
	f, err := newFleet(s, r.ca, c.up.Addr, proxies)
	if err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return &stage{run: r, orders: o, child: c, fleet: f}, nil
}

// awaitBack waits until all have answers, or says what destination has against the others.
func (s *stage) awaitBack(ctx context.Context, back *tally) error {
	if err := s.fleet.awaitBack(ctx, back, backTime); err != nil {
		return fmt.Errorf("%w; destination: %s", err, s.child.refusals())
	}
	return nil
}

// spread is how long changes of an endpoint take to reach all that watch it. As often it is lost as
// it is there again.
func (s *stage) spread(ctx context.Context, row string, service int) error {
	watching := s.fleet.watching(service)
	var all []time.Duration
	var slowest time.Duration
	before, err := s.child.cpu()
	if err != nil {
		return err
	}
	for range s.changes {
		if err := pause(ctx, s.patience(quiet)); err != nil {
			return err
		}
		took, err := s.toggle(ctx, service, watching)
		if err != nil {
			return fmt.Errorf("%s: %w", row, err)
		}
		all = append(all, took...)
		slowest = max(slowest, took[len(took)-1])
	}
	after, err := s.child.cpu()
	if err != nil {
		return err
	}
	slices.Sort(all)
	s.measured(row, milliseconds(percentile(all, 99)), fmt.Sprintf("%d proxies, %d changes; "+
		"p50 %.1f ms, the last one %.1f ms; %.0f ms of destination's CPU for a change",
		len(watching), s.changes, milliseconds(percentile(all, 50)), milliseconds(slowest),
		milliseconds(after-before)/float64(s.changes)))
	return nil
}

// toggle changes an endpoint, and says after how long each proxy had it.
func (s *stage) toggle(ctx context.Context, service int, watching []int) ([]time.Duration, error) {
	heard := newTally("a change", watching)
	s.fleet.change.Store(&change{authorityOf(service), heard})
	defer s.fleet.change.Store(nil)
	made, err := s.child.ask(opToggle, service)
	if err != nil {
		return nil, err
	}
	if err := heard.wait(ctx, heardTime); err != nil {
		return nil, err
	}
	return heard.since(time.Unix(0, made.At)), nil
}

// churn changes rare services, each in turn, and says what that costs destination: all that it does
// meanwhile.
func (s *stage) churn(ctx context.Context) error {
	before, err := s.child.cpu()
	if err != nil {
		return err
	}
	sent, began, n := s.fleet.messages.Load(), time.Now(), 0
	ticker := time.NewTicker(time.Second / churnRate)
	defer ticker.Stop()
	for d := s.patience(churnTime); time.Since(began) < d; n++ {
		if _, err := s.child.ask(opToggle, s.shape.rare(n)); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	took := time.Since(began)
	after, err := s.child.cpu()
	if err != nil {
		return err
	}
	s.measured(rowCPU, (after-before).Seconds()/took.Seconds(), fmt.Sprintf(
		"%.0f changes and %.0f messages a second", float64(n)/took.Seconds(),
		float64(s.fleet.messages.Load()-sent)/took.Seconds()))
	return nil
}

// restart kills destination and starts it anew. All are back once each has had an answer on a new
// stream; that nobody was forgotten is seen by a change that all watch.
func (s *stage) restart(ctx context.Context) error {
	s.fleet.largest.Store(0)
	failures := s.fleet.failures.Load()
	if err := s.end(); err != nil {
		return err
	}
	began, back := time.Now(), s.fleet.expectBack()
	next, err := start(s.orders)
	if err != nil {
		return err
	}
	s.child = next
	if err := s.awaitBack(ctx, back); err != nil {
		return err
	}
	took := back.since(began)
	if _, err := s.toggle(ctx, hot, s.fleet.watching(hot)); err != nil {
		return fmt.Errorf("after the restart: %w", err)
	}
	s.measured(rowRestart, took[len(took)-1].Seconds(), fmt.Sprintf(
		"half of them within %.1f s; %d tries failed", percentile(took, 50).Seconds(),
		s.fleet.failures.Load()-failures-int64(len(took))))
	s.measured(rowResume, float64(s.fleet.largest.Load())/1024, "")
	return nil
}

// end is destination's death without a word. One that is profiled has to write first.
func (s *stage) end() error {
	if s.profiles != "" {
		return s.child.stop()
	}
	s.child.kill()
	return nil
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
