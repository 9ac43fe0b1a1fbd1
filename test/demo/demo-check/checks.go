package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/cli/dev"
	"github.com/tulle-mesh/tulle/test/demo/load"
	"github.com/tulle-mesh/tulle/viz"
)

// viz asks meshctl, as a user would.
func (d *demo) viz(ctx context.Context, answer any, args ...string) error {
	cmd := d.meshctl(ctx, append(append([]string{"viz"}, args...), "-o", "json")...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("meshctl viz %s: %w: %s",
			strings.Join(args, " "), err, complaint.String())
	}
	if err := json.Unmarshal(out, answer); err != nil {
		return fmt.Errorf("read the answer of meshctl viz %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// stat is the one row of a resource.
func (d *demo) stat(ctx context.Context, resource string) (viz.Figures, error) {
	var s viz.Stat
	if err := d.viz(ctx, &s, "stat", resource); err != nil {
		return viz.Figures{}, err
	}
	if len(s.Rows) != 1 {
		return viz.Figures{}, fmt.Errorf("meshctl viz stat %s shows %d rows", resource, len(s.Rows))
	}
	return s.Rows[0].Figures, nil
}

// route is the row of one route of a service.
func (d *demo) route(ctx context.Context, service, route string) (viz.RouteRow, error) {
	var r viz.Routes
	if err := d.viz(ctx, &r, "routes", "svc/"+service); err != nil {
		return viz.RouteRow{}, err
	}
	for _, row := range r.Rows {
		if row.Route == route {
			return row, nil
		}
	}
	return viz.RouteRow{}, fmt.Errorf("meshctl viz routes svc/%s shows no route %q", service, route)
}

// settled is the route's row once all requests are in it.
func (d *demo) settled(
	ctx context.Context, service, route string, requests int,
) (viz.RouteRow, error) {
	f, err := eventually(ctx, func() (viz.RouteRow, error) { return d.route(ctx, service, route) },
		func(f viz.RouteRow) bool { return f.Requests >= uint64(requests) })
	if err == nil && f.Requests != uint64(requests) {
		d.fail("viz counts %d requests of route %s/%s, the load generator %d",
			f.Requests, service, route, requests)
	}
	return f, err
}

// The flaky route: three tries in ten fail, and hardly any request does.
func checkFlaky(ctx context.Context, d *demo) error {
	c, err := d.load.Run(ctx, load.Run{Path: "/stock", Requests: 2500, Workers: 16})
	if err != nil {
		return err
	}
	tries, err := d.seen(ctx, "inventory", "/stock")
	if err != nil {
		return err
	}
	effective := share(c.OK, c.Requests)
	d.expect(c.Requests >= 2000 && effective >= 0.99,
		"%d requests, %.2f %% succeeded for the caller", c.Requests, 100*effective)
	f, err := d.settled(ctx, "inventory", "stock", c.Requests)
	if err != nil {
		return err
	}
	actual := 1 - share(int(f.FailedTries), int(f.Tries))
	d.expect(math.Abs(actual-0.70) <= 0.05, "of %d tries %.2f %% succeeded", f.Tries, 100*actual)
	d.expect(f.Tries == uint64(tries),
		"inventory saw %d tries, its callers' proxies count %d", tries, f.Tries)
	d.expect(f.Failures == uint64(c.Failed()),
		"%d requests failed, the proxies count %d", c.Failed(), f.Failures)
	return nil
}

func share(part, whole int) float64 { return float64(part) / float64(max(whole, 1)) }

// budgetTTL is the default budget's memory: its minimum of 10 retries a second is given for so long
// at once.
const budgetTTL = 10 * time.Second

// The route that always fails: the default budget keeps retries at 20 %, and 10 a second.
func checkBroken(ctx context.Context, d *demo) error {
	c, err := d.load.Run(ctx, load.Run{Path: "/broken", Requests: 3000, Workers: 16})
	if err != nil {
		return err
	}
	tries, err := d.seen(ctx, "checkout", "/broken")
	if err != nil {
		return err
	}
	periods := math.Ceil(c.ElapsedMs / float64(budgetTTL.Milliseconds()))
	most := 1.2*float64(c.Requests) + 10*budgetTTL.Seconds()*periods
	d.expect(float64(tries) <= most,
		"%d requests made %d tries, at most %.0f are allowed", c.Requests, tries, most)
	d.expect(tries > c.Requests, "it is retried at all: %d tries", tries)
	d.expect(c.Statuses[500] == c.Requests,
		"every caller got the application's own answer: %v %v", c.Statuses, c.Errors)
	f, err := d.settled(ctx, "checkout", "broken", c.Requests)
	if err != nil {
		return err
	}
	d.expect(f.Tries == uint64(tries) && f.RetriesRefused > 0,
		"viz counts %d tries, and %d retries that the budget refused", f.Tries, f.RetriesRefused)
	return nil
}

// slowTimeout is the slow route's, in profiles/checkout.yaml; the answer would take app.SlowAnswer.
// slowSlack is what a busy machine may add.
const (
	slowTimeout = 300 * time.Millisecond
	slowSlack   = 2 * time.Second
)

// The slow route ends at its profile's timeout.
func checkSlow(ctx context.Context, d *demo) error {
	c, err := d.load.Run(ctx, load.Run{Path: "/slow", Requests: 100, Workers: 20})
	if err != nil {
		return err
	}
	d.expect(c.Statuses[504] == c.Requests,
		"all of %d requests end with 504: %v %v", c.Requests, c.Statuses, c.Errors)
	d.expect(c.MinMs >= ms(slowTimeout),
		"none before its timeout: the first after %.0f ms", c.MinMs)
	d.expect(c.MaxMs < ms(slowTimeout+slowSlack),
		"none long after it: the last after %.0f ms", c.MaxMs)
	f, err := d.settled(ctx, "checkout", "slow", c.Requests)
	if err != nil {
		return err
	}
	d.expect(f.Timeouts == uint64(c.Requests), "viz counts %d timeouts", f.Timeouts)
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// The canary gets one in ten.
func checkCanary(ctx context.Context, d *demo) error {
	c, err := d.load.Run(ctx, load.Run{Path: "/pay", Post: true, Requests: 2500, Workers: 16})
	if err != nil {
		return err
	}
	v2 := share(c.Versions["v2"], c.Requests)
	d.expect(c.Requests >= 2000 && math.Abs(v2-0.10) <= 0.01,
		"of %d requests %.2f %% went to v2: %v", c.Requests, 100*v2, c.Versions)
	row, err := d.settled(ctx, "payments", "pay", c.Requests)
	if err != nil {
		return err
	}
	for _, b := range row.Backends {
		version := strings.TrimPrefix(strings.TrimSuffix(b.Backend, ".shop.svc.cluster.local:80"),
			"payments-")
		d.expect(b.WindowRequests == uint64(c.Versions[version]),
			"viz routes says that %s got %d", version, b.WindowRequests)
	}
	d.expect(len(row.Backends) == 2, "viz routes knows %d versions", len(row.Backends))
	d.expect(c.Failed() == 0, "%d requests failed: %v %v", c.Failed(), c.Statuses, c.Errors)
	return nil
}

// effectWithin is how soon an edit must be felt.
const effectWithin = time.Second

// An edit of an HTTPRoute under load: everything goes to v2, soon, and no request is lost.
func checkEdit(ctx context.Context, d *demo) error {
	before, err := d.load.Total(ctx)
	if err != nil {
		return err
	}
	type result struct {
		counts load.Counts
		err    error
	}
	done := make(chan result, 1)
	go func() {
		c, err := d.load.Run(ctx, load.Run{
			Path: "/pay", Post: true, Requests: 1500, Rate: 300, Workers: 32,
		})
		done <- result{c, err}
	}()
	if _, err := eventually(ctx, func() (load.Counts, error) { return d.load.Total(ctx) },
		func(c load.Counts) bool { return c.Requests >= before.Requests+300 }); err != nil {
		return err
	}
	edited := time.Now()
	if err := d.sendAllToV2(); err != nil {
		return err
	}
	r := <-done
	if r.err != nil {
		return r.err
	}
	late := r.counts.LastStart["v1"].Sub(edited)
	d.expect(r.counts.Versions["v1"] > 0 && r.counts.Versions["v2"] > 150,
		"the edit shows: %v", r.counts.Versions)
	d.expect(late < effectWithin, "the last request for v1 began %s after the edit",
		late.Round(time.Millisecond))
	d.expect(r.counts.Failed() == 0, "%d of %d requests failed meanwhile: %v %v", r.counts.Failed(),
		r.counts.Requests, r.counts.Statuses, r.counts.Errors)
	return nil
}

// sendAllToV2 edits the route in place, as an editor would.
func (d *demo) sendAllToV2() error {
	path := filepath.Join(d.dir, "profiles", "payments.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	edited := strings.Replace(string(text), "weight: 90", "weight: 0", 1)
	if edited == string(text) {
		return errors.New(
			"profiles/payments.yaml has no weight of 90 any more: this check edits it")
	}
	return os.WriteFile(path, []byte(edited), 0o600)
}

// agreeWithin is how far viz may be from the load generator's own counts.
const agreeWithin = 0.01

// viz agrees with the load generator about everything that was sent.
func checkFigures(ctx context.Context, d *demo) error {
	want, err := d.load.Total(ctx)
	if err != nil {
		return err
	}
	for _, resource := range []string{"deploy/web", "svc/web"} {
		f, err := eventually(ctx, func() (viz.Figures, error) { return d.stat(ctx, resource) },
			func(f viz.Figures) bool {
				return agree(f.Requests, want.Requests) && agree(f.Failures, want.Failed())
			})
		if err != nil {
			return err
		}
		d.expect(agree(f.Requests, want.Requests),
			"%s had %d requests as viz counts, %d as the load generator does",
			resource, f.Requests, want.Requests)
		d.expect(agree(f.Failures, want.Failed()),
			"%s failed %d as viz counts, %d as the load generator does",
			resource, f.Failures, want.Failed())
	}
	return nil
}

func agree(got uint64, want int) bool {
	return math.Abs(float64(got)-float64(want)) <= agreeWithin*float64(want)
}

// viz forgets everything and is told again; what it counts for objectives it keeps.
func checkRestart(ctx context.Context, d *demo) error {
	before, err := d.objective(ctx, "coupon")
	if err != nil {
		return err
	}
	if out, err := d.meshctl(ctx, "dev", "restart", "viz").CombinedOutput(); err != nil {
		return fmt.Errorf("restart viz: %w: %s", err, out)
	}
	after, err := d.objective(ctx, "coupon")
	if err != nil {
		return err
	}
	d.expect(after.Requests == before.Requests && after.Bad == before.Bad,
		"an objective has %d of %d that went wrong, and had %d of %d", after.Bad, after.Requests,
		before.Bad, before.Requests)
	if err := checkFigures(ctx, d); err != nil {
		return err
	}
	more := load.Run{Path: "/cart", Post: true, Requests: 1000, Workers: 8}
	if _, err := d.load.Run(ctx, more); err != nil {
		return err
	}
	return checkFigures(ctx, d)
}

// Every meshed edge is mTLS with the right IDs, no marker was read between proxies, and the
// unmeshed edge shows that the relay would have read one.
func checkEncryption(ctx context.Context, d *demo) error {
	state := filepath.Join(d.dir, dev.DefaultDir)
	findings, err := dev.Check(ctx, state, settleWithin)
	if err != nil {
		return err
	}
	for _, f := range findings {
		d.expect(f.OK, "%s", f.Text)
	}
	out, err := d.meshctl(ctx, "dev", "check").CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return err
	}
	d.expect(err == nil, "'meshctl dev check' says so too")
	if err != nil {
		fmt.Printf("%s", out)
	}
	records, err := dev.Records(ctx, state)
	if err != nil {
		return err
	}
	d.controls(records)
	return nil
}

// controls show that the relay reads what there is to read: the marker on the unmeshed edge, and on
// the meshed ones at least the bytes of all those requests.
func (d *demo) controls(records []dev.Record) {
	var plain, meshed uint64
	for _, r := range records {
		if strings.HasPrefix(r.From, "legacy-") {
			plain += r.Markers
			continue
		}
		meshed += r.BytesTo
		if r.Markers > 0 || r.From == "" {
			d.fail("%q → %s: the marker was read %d times", r.From, r.To, r.Markers)
		}
	}
	d.expect(plain > 0, "as a control: the marker was read %d times on the unmeshed edge", plain)
	d.expect(meshed > 100_000, "and %d bytes of meshed requests passed the relays", meshed)
}
