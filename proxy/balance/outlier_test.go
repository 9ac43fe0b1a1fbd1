package balance

import (
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// watched is a cluster of so many endpoints, with outlier detection.
func watched(n int, o Outliers) (*Cluster, []*Endpoint) {
	if o.Base == 0 {
		o.Base, o.Max, o.MaxPercent = time.Second, time.Minute, 100
	}
	c := NewCluster("web", func() any { return nil })
	c.Update(protected(&o), announced(upTo(n)...), time.Now())
	return c, c.Current().All
}

func protected(o *Outliers) Params {
	return Params{Initial: 1, Decay: 1, Outliers: o, Counts: new(metric.Cluster)}
}

func upTo(n int) (ids []int) {
	for i := range n {
		ids = append(ids, i)
	}
	return ids
}

// verdicts are written as letters.
func verdict(letter rune) Verdict {
	return map[rune]Verdict{'g': Good, 'l': Limited, 'b': Bad}[letter]
}

// tell has an endpoint judged, and returns how many verdicts it took until it was ejected; 0: it
// was not.
func tell(e *Endpoint, verdicts string, now time.Time) int {
	for i, letter := range verdicts {
		e.Judge(verdict(letter), 0, now)
		if e.Ejected() {
			return i + 1
		}
	}
	return 0
}

// Linkerd's consecutive failures: so many in a row eject, and what is limited is none.
func TestFailuresInARowEject(t *testing.T) {
	for _, tt := range []struct {
		verdicts string
		want     int
	}{
		{"bbb", 3}, {"bbgbb", 0}, {"bblbb", 0}, {"gbbb", 4}, {"bbgbbgbbb", 9}, {"llllll", 0},
	} {
		_, all := watched(2, Outliers{Consecutive: 3})
		if got := tell(all[0], tt.verdicts, time.Now()); got != tt.want {
			t.Errorf("%s: ejected by verdict %d, want %d", tt.verdicts, got, tt.want)
		}
	}
}

// Linkerd's success rate: good/all within the window, judged after each verdict, from the least
// number on. Of the window's ten slices the oldest goes with time.
func TestASuccessRateEjects(t *testing.T) {
	type at struct {
		after    time.Duration
		verdicts string
		want     int
	}
	for name, steps := range map[string][]at{
		"too few":                  {{0, "bbbb", 0}},
		"enough":                   {{0, "bbbbb", 5}},
		"as good as the threshold": {{0, "ggggbggggb", 0}},
		"below it":                 {{0, "gggggggbb", 9}}, // 7 of 8 are 87 %, of 9 77 %
		"what is limited counts":   {{0, "gggggggll", 9}},
		"failures go with time":    {{0, "bbbb", 0}, {10 * time.Second, "ggggb", 0}},
		"but not before":           {{0, "bbbb", 0}, {8900 * time.Millisecond, "g", 1}},
		"a slice at a time": {
			{0, "bb", 0}, {5 * time.Second, "bb", 0}, {5 * time.Second, "ggg", 3}},
		"after a long time": {{0, "bbbb", 0}, {time.Hour, "bbbb", 0}, {0, "b", 1}},
	} {
		_, all := watched(2, Outliers{Rate: &Rate{80, 10 * time.Second, 5}})
		// at the beginning of a slice
		now := epoch.Add(time.Since(epoch).Truncate(time.Second))
		for i, s := range steps {
			now = now.Add(s.after)
			if got := tell(all[0], s.verdicts, now); got != s.want {
				t.Errorf("%s, step %d: ejected by verdict %d, want %d", name, i, got, s.want)
			}
		}
	}
}

// Envoy's threshold: mean - factor*stdev of the population.
func TestADeviationFromTheOthers(t *testing.T) {
	for _, tt := range []struct {
		rates  []float64
		factor float64
		want   int // lowest ones
	}{
		{[]float64{1, 1, 1, 1, .5}, 1.9, 1}, // .9 - 1.9*.2 = .52
		{[]float64{1, 1, 1, 1, .5}, 2.1, 0}, // .48
		{[]float64{1, 1, 1, 1, 0}, 1.9, 1},  // .8 - 1.9*.4 = .04
		{[]float64{.5, .5, .5, .5, .5}, 1.9, 0},
		{[]float64{1, 1, 1, 0}, 1, 0}, // four are too few
		{[]float64{1, 1, 1, 1, 1, 1, 1, .2, .1}, 1, 2},
	} {
		var rates []rate
		for _, good := range tt.rates {
			rates = append(rates, rate{nil, good})
		}
		low := deviating(rates, &Variation{Factor: tt.factor, MinEndpoints: 5})
		if len(low) != tt.want {
			t.Errorf("%v: %v deviate by %v, want %d", tt.rates, low, tt.factor, tt.want)
		}
		for i := 1; i < len(low); i++ {
			if low[i].good < low[i-1].good {
				t.Errorf("%v: the lowest is not first: %v", tt.rates, low)
			}
		}
	}
}

// Deviations are looked for once an interval, among endpoints with enough requests in it. What was
// counted long ago does not count.
func TestAnEndpointThatDeviatesIsEjected(t *testing.T) {
	v := Variation{Factor: 1.9, Interval: 10 * time.Second, MinEndpoints: 5, MinRequests: 10}
	for name, tt := range map[string]struct {
		requests int
		after    time.Duration
		want     bool
	}{
		"in time":        {10, v.Interval, true},
		"too early":      {10, v.Interval - 1, false},
		"long after":     {10, 2 * v.Interval, false},
		"a few requests": {9, v.Interval, false},
	} {
		_, all := watched(5, Outliers{Deviation: &v})
		now := time.Now()
		all[1].Judge(Good, 0, now) // the first interval begins
		for i, e := range all {
			for range tt.requests {
				e.Judge([]Verdict{Bad, Good, Good, Good, Good}[i], 0, now)
			}
		}
		all[1].Judge(Good, 0, now.Add(tt.after))
		if all[0].Ejected() != tt.want {
			t.Errorf("%s: ejected is %v, want %v", name, all[0].Ejected(), tt.want)
		}
		for _, e := range all[1:] {
			if e.Ejected() {
				t.Errorf("%s: one like the others is ejected", name)
			}
		}
	}
}

// An endpoint that asks to be left alone is passed over, while another is there, for as long as it
// says and no longer than the bound.
func TestAnEndpointIsLeftAloneWhenItAsks(t *testing.T) {
	c, all := watched(2, Outliers{})
	now := time.Now()
	all[0].Pushback(time.Hour, now)
	for _, tt := range []struct {
		after time.Duration
		ready bool
	}{{0, false}, {MaxPushback - 1, false}, {MaxPushback, true}} {
		if got := all[0].health.ready(now.Add(tt.after)); got != tt.ready {
			t.Errorf("after %v: ready is %v", tt.after, got)
		}
	}
	all[0].Pushback(time.Second, now)
	if all[0].health.ready(now.Add(MaxPushback - 1)) {
		t.Error("a shorter time counts in place of a longer one")
	}
	all[1].Pushback(time.Hour, now)
	if e, _ := c.Take(c.Current(), Key{Now: now}); e == nil {
		t.Error("nobody is asked when all want to be left alone")
	}
	_, dry := watched(2, Outliers{DryRun: true})
	if dry[0].Pushback(time.Hour, now); !dry[0].health.ready(now) {
		t.Error("it is passed over in a dry run")
	}
}
