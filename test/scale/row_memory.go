package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/rpc"
	"github.com/tulle-mesh/tulle/viz/api"
)

const (
	// gatherTime is for all proxies to come: handshakes are what it is spent on.
	gatherTime = 4 * time.Minute
	// rest is how long a server is let alone before its memory is read.
	rest = 10 * time.Second
	// vizRest is how long proxies report before viz's is: twelve of its intervals, in which the
	// history of so many series reaches its budget.
	vizRest = 2 * time.Minute
)

// identityMemory is identity with a certified proxy on each of its streams.
func (r *run) identityMemory(ctx context.Context) error {
	c, err := start(orders{Server: serverIdentity, Profiles: r.profiles,
		MemoryLimit: r.memoryLimit})
	if err != nil {
		return err
	}
	return errors.Join(r.identityWeighs(ctx, c), c.stop())
}

func (r *run) identityWeighs(ctx context.Context, c *child) error {
	roots, err := spiffe.ParseRoots([]byte(c.up.Roots))
	if err != nil {
		return err
	}
	began := time.Now()
	all := gather(ctx, r.proxies, func(i int) member { return r.shape.caller(i, c.up.Addr, roots) })
	defer all.stop()
	if err := all.await(ctx, gatherTime); err != nil {
		return fmt.Errorf("%w; the server: %s", err, c.refusals())
	}
	return r.weigh(ctx, rowIdentity, c, r.patience(rest), time.Since(began))
}

// vizMemory is viz with a proxy on each of its streams that reports on 21 series.
func (r *run) vizMemory(ctx context.Context) error {
	o, err := r.serverOrders(serverViz)
	if err != nil {
		return err
	}
	c, err := start(o)
	if err != nil {
		return err
	}
	return errors.Join(r.vizWeighs(ctx, c), c.stop())
}

func (r *run) vizWeighs(ctx context.Context, c *child) error {
	began := time.Now()
	members := make([]member, r.proxies)
	for i := range members {
		one, err := r.shape.newReporter(i, []int{i / r.shape.Pods}, r.shape.calls(i))
		if err != nil {
			return err
		}
		if members[i], err = r.reporterTo(c.up.Addr, i, one); err != nil {
			return err
		}
	}
	all := gather(ctx, r.proxies, func(i int) member { return members[i] })
	defer all.stop()
	if err := all.await(ctx, gatherTime); err != nil {
		return fmt.Errorf("%w; the server: %s", err, c.refusals())
	}
	return r.weigh(ctx, rowViz, c, r.patience(vizRest), time.Since(began))
}

// reporterTo is a proxy that reports to viz.
func (r *run) reporterTo(addr string, i int, one *reporter) (member, error) {
	src, err := r.ca.Source(namespaceOf(one.who.service), serviceName(one.who.service),
		one.who.name(), svidLife)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, here func()) error {
		client := newClient(i, addr, clientTLS(src, serverViz),
			rpc.Bounds{Request: api.MaxRequest, Response: api.MaxResponse})
		defer client.Close()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		return one.run(ctx, client, here)
	}, nil
}

// weigh reads a server's memory after a while.
func (r *run) weigh(ctx context.Context, row string, c *child, after, came time.Duration) error {
	if err := pause(ctx, after); err != nil {
		return err
	}
	now, err := c.resident()
	if err != nil {
		return err
	}
	peak, err := c.peak()
	if err != nil {
		return err
	}
	r.measured(row, now, fmt.Sprintf("peak %.0f MB; all came within %.1f s; %s", peak,
		came.Seconds(), c.refusals()))
	return nil
}

// pause lets time pass for which there is no event: collectors, and what they give back.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
