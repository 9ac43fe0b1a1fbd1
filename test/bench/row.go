package main

import (
	"context"
	"errors"
	"fmt"
	"os"
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
	fixed bool // the load's rate is fixed: latencies are what counts

	fresh  bool // every round has a process of its own, and nothing beside it
	rounds int  // of a fresh row; 0: one
	holds  bool // the application is the one that does not end its answers
	afresh bool // each round starts the processes anew: what differs is as small as their chances
}

// work is done against a chain for a while, and says what came of it.
type work func(ctx context.Context, c *chain, d time.Duration) (figures, error)

// cell is what a row came to for one peer.
type cell struct {
	peer    string
	figures figures // medians
	rounds  []figures
	err     error // why there are none
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

// warmup is how much of a round comes before the first: pools fill, and Go's collector finds its
// pace.
const warmup = 0.5

// fixedRound is the least at a fixed rate: the burst that opens the connections is less than a
// hundredth of it, so p99 is of what comes after.
const fixedRound = 3 * time.Second

// perStart is how many rounds a process is measured in. What it has got by chance, such as the
// pages of its memory, lasts as long as it does, and makes bulk a quarter faster or slower: so one
// start does not decide.
const perStart = 3

// measure runs every peer's rounds of one row.
func (b *bench) measure(ctx context.Context, r row) (result, error) {
	if r.fresh {
		return b.weigh(ctx, r)
	}
	all := map[string]*contest{}
	per := perStart
	if r.afresh {
		per = 1
	}
	for left := b.roundsOf(r); left > 0; left -= per {
		if err := b.heat(ctx, r, all, min(left, per)); err != nil {
			return result{}, err
		}
	}
	return b.result(r, all), ctx.Err()
}

// roundsOf are fewer where nothing is judged.
func (b *bench) roundsOf(r row) int {
	if slices.ContainsFunc(b.bars, func(x bar) bool { return x.row == r.name }) {
		return b.rounds
	}
	return min(b.rounds, perStart)
}

// heat is some rounds of one row, interleaved. All are up meanwhile; those that wait use no
// processor.
func (b *bench) heat(ctx context.Context, r row, all map[string]*contest, rounds int) error {
	running, err := b.enter(r, all)
	defer func() {
		for _, c := range running {
			c.chain.stop()
		}
	}()
	if err != nil {
		return err
	}
	for _, c := range running {
		b.look(ctx, c, r.shape)
		c.round(ctx, r, max(time.Duration(warmup*float64(b.duration)), 500*time.Millisecond), false)
	}
	d := b.duration
	if r.fixed {
		d = max(d, fixedRound)
	}
	for range rounds {
		for _, c := range running {
			c.round(ctx, r, d, true)
		}
	}
	return nil
}

// result has the peers that took part.
func (b *bench) result(r row, all map[string]*contest) result {
	res := result{row: r}
	for _, p := range b.peers {
		if c := all[p.name]; c != nil {
			res.cells = append(res.cells, c.cell())
		}
	}
	return res
}

func (c *contest) cell() cell {
	return cell{peer: c.peer, figures: medians(c.rounds), rounds: c.rounds, err: c.err}
}

// enter starts everybody who can take part.
func (b *bench) enter(r row, all map[string]*contest) (running []*contest, err error) {
	for _, p := range b.peers {
		chain, err := b.start(p, r)
		if err != nil {
			return running, err
		}
		if chain == nil {
			continue
		}
		c := all[p.name]
		if c == nil {
			c = &contest{peer: p.name}
			all[p.name] = c
		}
		c.chain = chain
		running = append(running, c)
	}
	return running, nil
}

// startTries: a port that was free may be somebody's by the time it is listened on, and a run takes
// half an hour.
const startTries = 3

// start puts a peer into a row's place; nil if it does not take part.
func (b *bench) start(p peer, r row) (*chain, error) {
	if r.shape.policies != noPolicies && !p.mesh {
		return nil, nil
	}
	dir, err := os.MkdirTemp(b.dir, r.name+"-"+p.name)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // nginx's worker is somebody else
		return nil, err
	}
	a := b.apps
	if r.holds {
		a = a.holding()
	}
	c, err := p.start(dir, r.shape, a)
	lasting := func() bool { return errors.Is(err, errAbsent) || errors.Is(err, errCannot) }
	for again := 1; err != nil && !lasting() && again < startTries; again++ {
		c, err = p.start(dir, r.shape, a)
	}
	switch {
	case errors.Is(err, errAbsent):
		b.absent(p.name)
		return nil, nil
	case errors.Is(err, errCannot):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s, %s: %w", r.name, p.name, err)
	}
	return c, nil
}

// weigh measures a fresh process for every round, alone.
func (b *bench) weigh(ctx context.Context, r row) (result, error) {
	all := map[string]*contest{}
	for range max(1, min(r.rounds, b.rounds)) {
		for _, p := range b.peers {
			c, err := b.start(p, r)
			if err != nil {
				return result{}, err
			}
			if c == nil || len(c.procs) == 0 {
				continue
			}
			if all[p.name] == nil {
				all[p.name] = &contest{peer: p.name}
			}
			all[p.name].weighed(ctx, c, r)
		}
	}
	return b.result(r, all), ctx.Err()
}

func (c *contest) weighed(ctx context.Context, running *chain, r row) {
	defer running.stop()
	if c.err != nil || ctx.Err() != nil {
		return
	}
	f, err := r.work(ctx, running, 0)
	if err != nil {
		c.err = err
		return
	}
	c.rounds = append(c.rounds, f)
}

// look notes what is between a peer's two proxies; what is not as it must be is an error.
func (b *bench) look(ctx context.Context, c *contest, s shape) {
	if c.chain.inner == "" {
		return
	}
	cipher, protocol, err := c.chain.verify(ctx, s.front)
	if err != nil {
		c.err = fmt.Errorf("between the proxies: %w", err)
		return
	}
	b.saw(c.peer, s.front, cipher, protocol)
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
	before, err := c.spent()
	if err != nil {
		return nil, err
	}
	f, err := w(ctx, c, d)
	if err != nil {
		return nil, err
	}
	after, err := c.spent()
	if err != nil {
		return nil, err
	}
	for i, p := range c.procs {
		spent := float64(after.cpu[i]-before.cpu[i]) / float64(time.Microsecond)
		f[[]string{cpuCaller, cpuCallee}[i]] = spent / f[done]
		f[[]string{callsCaller, callsCallee}[i]] = (after.calls[i] - before.calls[i]) / f[done]
		mb, err := resident(p.Process.Pid)
		if err != nil {
			return nil, err
		}
		f[rss] = max(f[rss], mb)
	}
	return f, nil
}
