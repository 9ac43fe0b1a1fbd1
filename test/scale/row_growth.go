package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// growth replaces the pods of deployments, none of which has a proxy here, while proxies watch.
// Memory is the median of a tenth of the readings, for collectors make
// it saw.
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
	var sizes []float64
	ticker := time.NewTicker(restartEvery)
	defer ticker.Stop()
	sent := s.fleet.messages.Load()
	for n := range s.restarts {
		service := first + n%(s.shape.Services-first)
		if _, err := s.child.ask(opRestart, service); err != nil {
			return err
		}
		size, err := s.child.resident()
		if err != nil {
			return err
		}
		sizes = append(sizes, size)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	settled := s.restarts / settledPart
	before := median(slices.Clone(sizes[settled : 2*settled]))
	after := median(sizes[s.restarts-settled:])
	s.measured(rowGrowth, (after-before)/before*100, fmt.Sprintf(
		"from %.0f to %.0f MB; %d proxies were sent %d messages", before, after,
		len(s.fleet.followers), s.fleet.messages.Load()-sent))
	return nil
}
