package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// settledPart of the restarts is when what the first ones need is there.
	settledPart = 10
	// restartEvery is the time between two: each is forty changes.
	restartEvery = 20 * time.Millisecond
	// fewer proxies watch than otherwise: it is what changes leave behind that is looked for.
	growthShare = 10
)

// growth replaces the pods of deployments, none of which has a proxy here, while proxies watch. It
// judges what the server holds on to, once its garbage is gone: resident memory is a saw, whose
// teeth are as high as what is looked for, and grows while the heap's holes come to fit.
func (r *run) growth(ctx context.Context) error {
	watching := max(1, r.proxies/growthShare)
	s, err := r.stage(r.shape, watching)
	if err != nil {
		return err
	}
	back := s.fleet.expectBack()
	s.fleet.run(ctx)
	err = s.awaitBack(ctx, back)
	if err == nil {
		err = s.grow(ctx)
	}
	s.fleet.stop()
	return errors.Join(err, s.child.stop())
}

func (s *stage) grow(ctx context.Context) error {
	first := (len(s.fleet.followers) + s.shape.Pods - 1) / s.shape.Pods // without a proxy here
	if first >= s.shape.Services {
		return fmt.Errorf("%d services are too few: each has a proxy", s.shape.Services)
	}
	settled := s.restarts / settledPart
	sent := s.fleet.messages.Load()
	if err := s.restartPods(ctx, first, 0, settled); err != nil {
		return err
	}
	before, err := s.child.kept()
	if err != nil {
		return err
	}
	if err := s.restartPods(ctx, first, settled, s.restarts); err != nil {
		return err
	}
	after, err := s.child.kept()
	if err != nil {
		return err
	}
	s.measured(rowGrowth, (after.live/before.live-1)*100, fmt.Sprintf(
		"from %.1f to %.1f MB, resident from %.0f to %.0f; %d proxies were sent %d messages",
		before.live, after.live, before.resident, after.resident,
		len(s.fleet.followers), s.fleet.messages.Load()-sent))
	return nil
}

// restartPods does the restarts from one number to another, of the services from first on.
func (s *stage) restartPods(ctx context.Context, first, from, to int) error {
	ticker := time.NewTicker(restartEvery)
	defer ticker.Stop()
	for n := from; n < to; n++ {
		if _, err := s.child.ask(opRestart, first+n%(s.shape.Services-first)); err != nil {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
