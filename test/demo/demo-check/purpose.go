package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tulle-mesh/tulle/test/demo/app"
	"github.com/tulle-mesh/tulle/test/demo/load"
	"github.com/tulle-mesh/tulle/viz"
)

// brokenShare is how many of the requests may meet the instance that fails: each of checkout's
// proxies finds out for itself, by three of its own, with as many under way as there are workers.
const brokenShare = 0.05

// An instance that fails whatever it is asked: after a few failures hardly any request meets it.
func checkEjection(ctx context.Context, d *demo) error {
	c, err := d.load.Run(ctx,
		load.Run{Path: app.DeliveryPath, Requests: 600, Rate: 200, Workers: 8})
	if err != nil {
		return err
	}
	met, err := d.seen(ctx, "delivery-broken", app.DeliveryPath)
	if err != nil {
		return err
	}
	d.expect(met > 0 && share(met, c.Requests) <= brokenShare,
		"of %d requests %d met the broken instance", c.Requests, met)
	d.expect(c.Statuses[503] == met && c.Failed() == met,
		"as many failed for their callers: %v %v", c.Statuses, c.Errors)
	f, err := d.settled(ctx, "delivery", "[default]", c.Requests)
	if err != nil {
		return err
	}
	d.expect(f.Failures == uint64(met), "viz counts %d failures", f.Failures)
	d.expect(f.Ejected == 1 && f.Endpoints == 3,
		"viz routes says that %d of %d are ejected", f.Ejected, f.Endpoints)
	for workload, want := range map[string]uint64{"deploy/delivery-broken": 1,
		"deploy/delivery-good": 0} {
		f, err := d.stat(ctx, workload)
		if err != nil {
			return err
		}
		d.expect(f.Ejected == want, "viz stat says of %s that %d are", workload, f.Ejected)
	}
	text, _, err := d.said(ctx, "viz", "endpoints", "svc/delivery")
	if err != nil {
		return err
	}
	out := strings.Contains(text, "ejected") || strings.Contains(text, "probation")
	d.expect(out && strings.Contains(text, "ready"), "viz endpoints says\n%s", text)
	return d.expectShown(ctx, "delivery", "[default]", "EJECTED", "1/3")
}

// faultPercent is the share of profiles/coupon.yaml.
const faultPercent = 20

// A fault that is done on purpose: its share fails, the application never hears of it, and viz
// knows that it was no failure of anybody's.
func checkFault(ctx context.Context, d *demo) error {
	c, err := d.load.Run(ctx, load.Run{Path: "/coupon", Requests: 1000, Workers: 8})
	if err != nil {
		return err
	}
	heard, err := d.seen(ctx, "checkout", "/coupon")
	if err != nil {
		return err
	}
	failed, due := c.Statuses[503], c.Requests*faultPercent/100
	d.expect(max(failed-due, due-failed) <= 3 && failed == c.Failed(),
		"of %d requests %d failed: %v %v", c.Requests, failed, c.Statuses, c.Errors)
	d.expect(heard == c.Statuses[200], "checkout heard of %d", heard)
	f, err := d.settled(ctx, "checkout", "coupon", c.Requests)
	if err != nil {
		return err
	}
	d.expect(f.Faulted == uint64(failed) && f.Failures == f.Faulted,
		"viz counts %d that a fault took, and %d failures", f.Faulted, f.Failures)
	if err := d.expectShown(ctx, "checkout", "coupon", "FAULTED",
		fmt.Sprint(failed)); err != nil {
		return err
	}
	return d.expectPromise(ctx, f.Figures)
}

// expectPromise looks at the objective of profiles/objectives.yaml: it counts what viz does, and
// its budget burns by what fails.
func (d *demo) expectPromise(ctx context.Context, f viz.Figures) error {
	row, err := d.objective(ctx, "coupon")
	if err != nil {
		return err
	}
	burn := float64(row.Bad) / float64(max(row.Requests, 1)) / (1 - row.Objective)
	d.expect(row.Requests == f.Requests && row.Bad == f.Failures && burn > 15 && burn < 25 &&
		row.BudgetLeft < 1,
		"of its objective %d of %d went wrong: the budget burns at %.1f", row.Bad, row.Requests,
		burn)
	return nil
}

// objective is the row of an objective.
func (d *demo) objective(ctx context.Context, name string) (viz.ObjectiveRow, error) {
	out, err := d.meshctl(ctx, "slo", name, "-o", "json").Output()
	if err != nil {
		return viz.ObjectiveRow{}, fmt.Errorf("meshctl slo %s: %w", name, err)
	}
	var answer viz.Objectives
	if err := json.Unmarshal(out, &answer); err != nil || len(answer.Rows) != 1 {
		return viz.ObjectiveRow{}, fmt.Errorf("meshctl slo %s says %s", name, out)
	}
	return answer.Rows[0], nil
}

// The limit of profiles/search.yaml: so many at once, and one a second. One more is for the edges
// of its time, at each of checkout's instances.
const (
	searchBurst = 4
	searchEdges = 2
)

// A rate limit: what is beyond it gets 429, and both sides know why.
func checkLimit(ctx context.Context, d *demo) error {
	c, err := d.load.Run(ctx, load.Run{Path: "/search", Requests: 300, Rate: 100, Workers: 8})
	if err != nil {
		return err
	}
	heard, err := d.seen(ctx, "checkout", "/search")
	if err != nil {
		return err
	}
	limited, most := c.Statuses[429], searchBurst+searchEdges+int(c.ElapsedMs/1000)
	d.expect(heard == c.Statuses[200] && heard > 0 && heard <= most && heard+limited == c.Requests,
		"of %d requests in %.0f ms %d were admitted, at most %d may be: %v %v",
		c.Requests, c.ElapsedMs, heard, most, c.Statuses, c.Errors)
	f, err := d.settled(ctx, "checkout", "search", c.Requests)
	if err != nil {
		return err
	}
	d.expect(f.Limited == uint64(limited) && f.Failures == 0,
		"viz counts %d that the limit refused, and %d failures", f.Limited, f.Failures)
	server, err := eventually(ctx, func() (viz.Figures, error) {
		return d.stat(ctx, "deploy/checkout")
	}, func(f viz.Figures) bool { return f.Limited >= uint64(limited) })
	if err != nil {
		return err
	}
	d.expect(server.Limited == uint64(limited), "and checkout's own proxies %d", server.Limited)
	return d.expectShown(ctx, "checkout", "search", "LIMITED", fmt.Sprint(limited))
}

// expectShown looks at what a user sees: the route's line of viz routes has the figure, under its
// head, and viz top has it too.
func (d *demo) expectShown(ctx context.Context, service, route, head, figure string) error {
	out, err := d.meshctl(ctx, "viz", "routes", "svc/"+service).Output()
	if err != nil {
		return fmt.Errorf("meshctl viz routes: %w", err)
	}
	lines := strings.Split(string(out), "\n")
	at := strings.Index(lines[0], head)
	shown := ""
	for _, line := range lines[1:] {
		if at >= 0 && strings.HasPrefix(line, route+" ") {
			shown, _, _ = strings.Cut(line[min(at, len(line)):]+" ", " ")
		}
	}
	d.expect(shown == figure, "viz routes shows %q under %s", shown, head)
	row, err := d.top(ctx, service, route)
	if err != nil {
		return err
	}
	got := map[string]string{"FAULTED": fmt.Sprint(row.WindowFaulted),
		"LIMITED": fmt.Sprint(row.WindowLimited),
		"EJECTED": fmt.Sprintf("%d/%d", row.Ejected, row.Endpoints)}[head]
	d.expect(got == figure, "and viz top %s", got)
	return nil
}

// top is the row of a route in the first answer of viz top.
func (d *demo) top(ctx context.Context, service, route string) (viz.TopRow, error) {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	cmd := d.meshctl(ctx, "viz", "top", "svc/"+service, "-o", "json")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return viz.TopRow{}, err
	}
	if err := cmd.Start(); err != nil {
		return viz.TopRow{}, fmt.Errorf("meshctl viz top: %w", err)
	}
	var top viz.Top
	err = json.NewDecoder(out).Decode(&top)
	cancel()
	_ = cmd.Wait() // it was killed: it would go on for ever
	if err != nil {
		return viz.TopRow{}, fmt.Errorf("meshctl viz top: %w", err)
	}
	for _, row := range top.Rows {
		if row.To == service && row.Route == route {
			return row, nil
		}
	}
	return viz.TopRow{}, errors.New("meshctl viz top svc/" + service + " has no row of " + route)
}
