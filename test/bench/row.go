package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// row is one thing to measure, of everybody.
type row struct {
	name  string // as -rows has it
	title string
	unit  string
	shape shape
	work  work
}

// work is done against a chain for a while, and says what came of it.
type work func(ctx context.Context, c *chain, d time.Duration) (figures, error)

// cell is what a row came to for one peer.
type cell struct {
	peer    string
	figures figures // medians
	err     error   // why there are none
}

// result is a row that has been measured.
type result struct {
	row
	cells []cell
}

func (r result) of(peer string) (cell, bool) {
	i := slices.IndexFunc(r.cells, func(c cell) bool { return c.peer == peer })
	if i < 0 {
		return cell{}, false
	}
	return r.cells[i], true
}

// contest is a peer in a row, while that is measured.
type contest struct {
	peer   string
	chain  *chain
	rounds []figures
	err    error
}

// warmup is how much of a round comes before the first: pools fill, and Go's collector finds its pace.
const warmup = 0.5

// measure runs every peer's rounds of one row, interleaved. All are up meanwhile; those that wait use no processor.
func (b *bench) measure(ctx context.Context, r row) (result, error) {
	all, err := b.enter(r)
	defer func() {
		for _, c := range all {
			c.chain.stop()
		}
	}()
	if err != nil {
		return result{}, err
	}
	for _, c := range all {
		c.round(ctx, r, max(time.Duration(warmup*float64(b.duration)), 500*time.Millisecond), false)
	}
	for range b.rounds {
		for _, c := range all {
			c.round(ctx, r, b.duration, true)
		}
	}
	res := result{row: r}
	for _, c := range all {
		res.cells = append(res.cells, cell{peer: c.peer, figures: medians(c.rounds), err: c.err})
	}
	return res, ctx.Err()
}

// enter starts everybody who can take part.
func (b *bench) enter(r row) (all []*contest, err error) {
	for _, p := range b.peers {
		dir := filepath.Join(b.dir, r.name+"-"+p.name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			return all, err
		}
		c, err := p.start(dir, r.shape, b.apps)
		switch {
		case errors.Is(err, errAbsent):
			b.absent(p.name)
		case errors.Is(err, errCannot):
		case err != nil:
			return all, fmt.Errorf("%s, %s: %w", r.name, p.name, err)
		default:
			all = append(all, &contest{peer: p.name, chain: c})
		}
	}
	return all, nil
}

// round is one measurement; after a failure there are no more.
func (c *contest) round(ctx context.Context, r row, d time.Duration, counts bool) {
	if c.err != nil || ctx.Err() != nil {
		return
	}
	f, err := c.chain.under(ctx, r.work, d)
	if err != nil {
		c.err = err
		return
	}
	if counts {
		c.rounds = append(c.rounds, f)
	}
}

// under is work with what it cost the processes.
func (c *chain) under(ctx context.Context, w work, d time.Duration) (figures, error) {
	before, err := cpuOf(c.procs)
	if err != nil {
		return nil, err
	}
	f, err := w(ctx, c, d)
	if err != nil {
		return nil, err
	}
	after, err := cpuOf(c.procs)
	if err != nil {
		return nil, err
	}
	for i, p := range c.procs {
		f[[]string{cpuCaller, cpuCallee}[i]] = float64(after[i]-before[i]) / float64(time.Microsecond) / f[done]
		mb, err := resident(p.Process.Pid)
		if err != nil {
			return nil, err
		}
		f[rss] = max(f[rss], mb)
	}
	return f, nil
}
