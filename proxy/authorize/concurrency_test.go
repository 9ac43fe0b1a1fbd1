package authorize

import (
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"google.golang.org/protobuf/encoding/protowire"
)

// bounded is a bound of one request at a time, and what it counts.
func bounded(t *testing.T) (*Concurrency, *metric.Concurrency) {
	t.Helper()
	counts := &metric.Concurrency{}
	c, err := CompileConcurrency(&api.Concurrency{MinRequests: 1, MaxRequests: 1},
		func() *metric.Concurrency { return counts })
	if err != nil {
		t.Fatal(err)
	}
	return c.After(nil), counts
}

func TestRequestsThatAreUnderWay(t *testing.T) {
	c, counts := bounded(t)
	now := time.Now()
	if !c.Enter(now) || c.Enter(now) || c.Enter(now) {
		t.Error("not one request is let in, of three")
	}
	if c.Answered(now, now); !c.Enter(now) {
		t.Error("none is let in after an answer")
	}
	if c.Left(now, now); !c.Enter(now) {
		t.Error("none is let in after one was given up")
	}
	if n, limit := counts.Refused.Load(), counts.Limit.Load(); n != 2 || limit != 1 {
		t.Errorf("%d refused and a limit of %d are counted, want 2 and 1", n, limit)
	}
}

// What has changed counts at once, and what is under way still is.
func TestABoundOutlivesAnUpdate(t *testing.T) {
	c, counts := bounded(t)
	now := time.Now()
	c.Enter(now)
	next, err := CompileConcurrency(&api.Concurrency{MinRequests: 2, MaxRequests: 2},
		func() *metric.Concurrency { return counts })
	if err != nil {
		t.Fatal(err)
	}
	next = next.After(c)
	if !next.Enter(now) || next.Enter(now) {
		t.Error("one more than one is not let in once the limit is two")
	}
	if counts.Limit.Load() != 2 {
		t.Errorf("a limit of %d is shown", counts.Limit.Load())
	}
	if none := (*Concurrency)(nil).After(next); none != nil {
		t.Error("a limit outlives its end")
	}
}

// A request that fails at once says nothing of how long requests take; one that its caller gave up
// after more than it should take says that.
func TestWhatRequestsThatFailSay(t *testing.T) {
	c, _ := bounded(t)
	c.gradient.least = 100 * time.Millisecond
	for took, want := range map[time.Duration]int{
		0: 0, 125 * time.Millisecond: 0, 126 * time.Millisecond: 1,
	} {
		c.gradient.recent = samples{}
		began := time.Now()
		c.Enter(began)
		c.Left(began, began.Add(took))
		if got := c.gradient.recent.n; got != want {
			t.Errorf("one that ends after %v counts %d times", took, got)
		}
	}
}

func TestEnteringAllocatesNothing(t *testing.T) {
	c, _ := bounded(t)
	now := time.Now()
	if n := testing.AllocsPerRun(1000, func() {
		c.Enter(now)
		c.Answered(now, now)
		now = now.Add(time.Millisecond)
	}); n > 0 {
		t.Errorf("%v allocations a request", n)
	}
}

func TestWhatIsNotUnderstoodIsNoBound(t *testing.T) {
	newer := &api.Concurrency{}
	newer.ProtoReflect().SetUnknown(
		protowire.AppendVarint(protowire.AppendTag(nil, 9999, protowire.VarintType), 1))
	for name, m := range map[string]*api.Concurrency{
		"a newer field":           newer,
		"a percentile":            {Percentile: 100},
		"a window too short":      {WindowMs: 9},
		"a window too long":       {WindowMs: 60_001},
		"a window beyond all":     {WindowMs: 1 << 63},
		"least above most":        {MinRequests: 9, MaxRequests: 8},
		"least above the default": {MinRequests: 1001},
		"too many":                {MaxRequests: api.MaxConcurrency + 1},
		"a buffer too large":      {BufferPercent: api.MaxBufferPercent + 1},
		"a baseline too often":    {BaselineMs: 999},
		"a baseline too seldom":   {BaselineMs: 3_600_001},
		"a baseline too long":     {BaselineRequests: api.MaxBaselineRequests + 1},
	} {
		if c, err := CompileConcurrency(m, nil); err == nil {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if c, err := CompileConcurrency(nil, nil); c != nil || err != nil {
		t.Errorf("of no message: %v, %v", c, err)
	}
}
