package balance

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// ejected is a cluster of so many endpoints of which the first was just ejected, for a second or a
// tenth more.
func ejected(t *testing.T, n int) (c *Cluster, e *Endpoint, now time.Time) {
	t.Helper()
	c, all := watched(n, Outliers{Consecutive: 1})
	now = time.Now()
	if tell(all[0], "b", now) != 1 {
		t.Fatal("it is not ejected")
	}
	return c, all[0], now
}

const most = time.Second + time.Second/ejectionJitter // of the first ejection

// Envoy's and Linkerd's back-off: base, doubled each time, at most max.
func TestEjectionsGrow(t *testing.T) {
	o := &Outliers{Base: time.Second, Max: time.Minute}
	for n, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		if got := o.length(n); got != want*time.Second {
			t.Errorf("ejection %d takes %v, want %v", n, got, want*time.Second)
		}
	}
	if got := (&Outliers{Base: time.Hour, Max: time.Hour}).length(maxDoubled); got != time.Hour {
		t.Errorf("an ejection takes %v", got)
	}
}

// One always may be ejected of several (Envoy's always_eject_one_host), and one always stays.
func TestHowManyMayBeEjected(t *testing.T) {
	for _, tt := range []struct{ endpoints, percent, want int }{
		{1, 100, 0}, {2, 100, 1}, {2, 1, 1}, {3, 100, 2}, {3, 50, 1}, {9, 10, 1}, {10, 10, 1},
		{20, 10, 2}, {10, 50, 5}, {10, 55, 5}, {10, 100, 9},
	} {
		o := &Outliers{MaxPercent: tt.percent}
		if got := o.mayBeEjected(tt.endpoints); got != tt.want {
			t.Errorf("%d %% of %d endpoints are %d, want %d", tt.percent, tt.endpoints, got,
				tt.want)
		}
	}
}

func TestNotMoreAreEjectedThanMayBe(t *testing.T) {
	c, all := watched(4, Outliers{Consecutive: 1, Base: time.Second, Max: time.Second,
		MaxPercent: 50})
	for _, e := range all {
		e.Judge(Bad, 0, time.Now())
	}
	if n := c.Ejected(); n != 2 {
		t.Errorf("%d of 4 are ejected, want half", n)
	}
	c, all = watched(1, Outliers{Consecutive: 1})
	if got := all[0].Judge(Bad, 0, time.Now()); len(got) != 1 || got[0].For != 0 ||
		c.Ejected() != 0 {
		t.Errorf("the only endpoint is ejected: %v", got)
	}
}

// One that cannot be dialed takes nobody's place.
func TestTheLastOneThatWorksIsNotEjected(t *testing.T) {
	_, all := watched(2, Outliers{Consecutive: 1})
	now := time.Now()
	all[1].RestLonger(now, time.Minute)
	if tell(all[0], "b", now) != 0 {
		t.Error("the last one that works is ejected")
	}
	if tell(all[0], "b", now.Add(time.Minute)) != 1 {
		t.Error("it stays, though the other one is back")
	}
}

// While an endpoint is ejected nobody is sent to it, not even who must not go to the other again.
func TestNobodyIsSentToAnEjectedEndpoint(t *testing.T) {
	for _, n := range []int{2, 3} {
		c, e, now := ejected(t, n)
		for _, other := range append(c.Current().All[1:], nil) {
			for range 100 {
				got, probe := c.Take(c.Current(),
					Key{Avoid: other, Now: now.Add(time.Second - 1)})
				if got == e || probe != 0 || n == 3 && got == other {
					t.Fatalf("of %d, avoiding %v: sent to %s as probe %d", n, other, got.id, probe)
				}
			}
		}
	}
}

// Of many requests that come when the time is over, one is the probe. A success brings the endpoint
// back; a failure ejects it for twice as long. One that failed elsewhere is no probe.
func TestOneRequestProbes(t *testing.T) {
	for v, after := range map[Verdict]time.Duration{
		Good: 0, Bad: 2 * time.Second, Limited: 2 * time.Second,
	} {
		c, e, now := ejected(t, 3)
		now = now.Add(most)
		if _, probe := c.Take(c.Current(), Key{Avoid: c.Current().All[1], Now: now}); probe != 0 {
			t.Error("a request that failed elsewhere probes")
		}
		var probes atomic.Int32
		var token atomic.Uint32
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				got, probe := c.Take(c.Current(), Key{Now: now})
				if got == e {
					probes.Add(1)
					token.Store(probe)
				}
			})
		}
		if all.Wait(); probes.Load() != 1 || token.Load() == 0 {
			t.Fatalf("%d requests probe, the last as %d", probes.Load(), token.Load())
		}
		e.Judge(Good, 0, now) // an answer from before the ejection
		if !e.Ejected() {
			t.Fatal("an old answer brings the endpoint back")
		}
		got := e.Judge(v, token.Load(), now)
		if len(got) != 1 || got[0].Back != (v == Good) || got[0].For < after ||
			got[0].For > after+after/ejectionJitter || e.Ejected() != (v != Good) {
			t.Errorf("after verdict %d of the probe: %+v", v, got)
		}
		if e.Judge(Good, token.Load(), now); v != Good && !e.Ejected() {
			t.Error("the probe's second word brings the endpoint back")
		}
	}
}

// A probe that never ends does not keep the others away for ever, nor does one that is given up.
// Whichever is answered first counts.
func TestAProbeWithoutAnAnswer(t *testing.T) {
	c, e, now := ejected(t, 2)
	now = now.Add(most)
	take := func(now time.Time) uint32 {
		_, probe := c.Take(c.Current(), Key{Now: now})
		return probe
	}
	first := take(now)
	if first == 0 || take(now.Add(probePatience-1)) != 0 {
		t.Error("two probe at a time")
	}
	now = now.Add(probePatience)
	second := take(now)
	if second == 0 || take(now) != 0 {
		t.Error("nobody probes after one that takes too long, or two do")
	}
	e.Unprobed(second, now)
	if take(now) == 0 {
		t.Error("nobody probes after one that was given up")
	}
	if e.Judge(Good, first, now); e.Ejected() {
		t.Error("the first probe's late answer does not count")
	}
}

// What was quiet for a time is ejected for less.
func TestEjectionsFallAgain(t *testing.T) {
	c, e, now := ejected(t, 2)
	for range 3 { // to the third doubling
		now = now.Add(time.Minute)
		_, probe := c.Take(c.Current(), Key{Now: now})
		e.Judge(Bad, probe, now)
	}
	for _, tt := range []struct{ quiet, want time.Duration }{
		{0, 16 * time.Second}, {quiet, 16 * time.Second}, {3 * quiet, 4 * time.Second},
		{time.Hour, time.Second},
	} {
		now = now.Add(time.Minute)
		_, probe := c.Take(c.Current(), Key{Now: now})
		e.Judge(Good, probe, now)
		now = now.Add(tt.quiet)
		got := e.Judge(Bad, 0, now)
		if len(got) != 1 || got[0].For < tt.want || got[0].For > tt.want+tt.want/ejectionJitter {
			t.Errorf("after %v of quiet: %+v, want %v", tt.quiet, got, tt.want)
		}
	}
}

// Endpoints that leave take with them what let others be ejected; a cluster without detection
// ejects nobody.
func TestWhoIsEjectedAfterAnUpdate(t *testing.T) {
	for name, change := range map[string]func(c *Cluster, o *Outliers){
		"the others leave": func(c *Cluster, o *Outliers) {
			c.Update(protected(o), announced(0), time.Now())
		},
		"there is no detection any more": func(c *Cluster, _ *Outliers) {
			c.Update(Params{}, announced(0, 1, 2), time.Now())
		},
		"it is a dry run": func(c *Cluster, o *Outliers) {
			dry := *o
			dry.DryRun = true
			c.Update(protected(&dry), announced(0, 1, 2), time.Now())
		},
	} {
		c, e, _ := ejected(t, 3)
		o := c.Current().Params.Outliers
		c.Update(protected(o), announced(0, 1, 2), time.Now())
		if !e.Ejected() || c.Ejected() != 1 {
			t.Error("an update of others ends an ejection")
		}
		change(c, o)
		if e.Ejected() || c.Ejected() != 0 {
			t.Errorf("%s: it is still ejected", name)
		}
	}
}

// A dry run says whom it would eject, each time that it would.
func TestADryRunEjectsNobody(t *testing.T) {
	c, all := watched(2, Outliers{Consecutive: 2, DryRun: true})
	said := 0
	for range 10 {
		for _, x := range all[0].Judge(Bad, 0, time.Now()) {
			if said++; x.For != 0 || x.Back {
				t.Errorf("it is ejected: %+v", x)
			}
		}
	}
	if said != 5 || c.Ejected() != 0 {
		t.Errorf("%d are ejected, and it was said %d times, want 5", c.Ejected(), said)
	}
}

// The gauges are of the endpoints of the moment, and end with the outlier detection.
func TestGaugesFollowTheEndpoints(t *testing.T) {
	r, now := metric.NewRegistry(), time.Now()
	detecting := protected(&Outliers{Consecutive: 1, Base: time.Second, Max: time.Minute,
		MaxPercent: 100})
	detecting.Counts = r.Cluster("web")
	limiting := Params{Initial: 1, Decay: 1, Bounds: &Bounds{}, Counts: detecting.Counts}
	plain := Params{Initial: 1, Decay: 1}
	c := NewCluster("web", func() any { return nil })
	for i, step := range []struct {
		params       Params
		endpoints    int
		ejected, all int
	}{
		{detecting, 3, 0, 3}, {detecting, 3, 1, 3}, {detecting, 2, 1, 2}, {limiting, 2, 0, 0},
		{detecting, 2, 0, 2}, {detecting, 2, 1, 2}, {plain, 2, 0, 0},
	} {
		c.Update(step.params, announced(upTo(step.endpoints)...), now)
		if e := c.Current().All[0]; step.ejected > 0 && !e.Ejected() {
			tell(e, "b", now)
		}
		labels := metric.Labels{Direction: metric.Outbound, Backend: "web"}
		if ejected, all := r.Endpoints(labels); ejected != step.ejected || all != step.all {
			t.Errorf("step %d: %d of %d are ejected, want %d of %d", i, ejected, all,
				step.ejected, step.all)
		}
	}
	runtime.KeepAlive(detecting)
}

// asked sends requests to three endpoints, the first of which fails at once, a hundred a second for
// as long, and returns when it was ejected, and how many of them failed until then.
func asked(c *Cluster, now time.Time, within time.Duration) (ejected time.Duration, failed int) {
	began, failing := now, c.Current().All[0]
	for now.Sub(began) < within {
		now = now.Add(10 * time.Millisecond)
		e, probe := c.Take(c.Current(), Key{Now: now})
		p := c.Current().Params
		if e != failing {
			e.Observe(5*time.Millisecond, p, now)
			e.Judge(Good, probe, now)
			continue
		}
		failed++
		e.Failed(time.Millisecond, p, now)
		if e.Judge(Bad, probe, now); e.Ejected() {
			return now.Sub(began), failed
		}
	}
	return 0, failed
}

// EWMA keeps away from who fails, and so from the failures that eject it: without being asked again
// on purpose it would take a minute for each of them, of which callers get every one. Who does not
// fail again is left to the balancer.
func TestWhoFailsIsAskedAgain(t *testing.T) {
	begin := func(o *Outliers) (*Cluster, time.Time) {
		now := time.Now()
		c := NewCluster("web", func() any { return nil })
		p := protected(o)
		p.Initial, p.Decay = time.Second, 10*time.Second // the proxy's own
		c.Update(p, announced(upTo(3)...), now)
		return c, now
	}
	inRow := Outliers{Consecutive: 5, Base: time.Second, Max: time.Minute, MaxPercent: 50}
	c, now := begin(&inRow)
	took, failed := asked(c, now, time.Minute)
	if took == 0 || took > 20*time.Second || failed != 5 {
		t.Errorf("it is ejected after %s, and %d failures", took, failed)
	}
	dry := inRow
	dry.DryRun = true
	c, now = begin(&dry)
	if _, failed := asked(c, now, 20*time.Second); failed > 3 {
		t.Errorf("in a dry run %d requests are sent there", failed)
	}
	c, now = begin(&inRow)
	e := c.Current().All[0]
	e.Judge(Bad, 0, now)
	now = now.Add(suspicion)
	if got, probe := c.Take(c.Current(), Key{Now: now}); got != e || probe != 0 {
		t.Error("who failed is not asked again")
	}
	e.Judge(Good, 0, now)
	if c.detector.suspect.Load() != nil {
		t.Error("who is well is still suspected")
	}
	e.Judge(Bad, 0, now)
	c.Update(c.Current().Params, announced(1, 2), now)
	now = now.Add(suspicion)
	if got, _ := c.Take(c.Current(), Key{Now: now}); got == e {
		t.Error("who is gone is asked")
	}
	if due := c.detector.due.Load(); due != 0 {
		t.Errorf("something is due: %d", due)
	}
}
