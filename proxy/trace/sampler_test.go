package trace

import (
	"math/rand/v2"
	"testing"
	"time"
)

var now = time.Unix(1_700_000_000, 0)

// Who decides by a trace's ID decides alike everywhere, and in the share that is wanted.
func TestTheRatioIsOfIDs(t *testing.T) {
	const many = 200_000
	random := rand.New(rand.NewPCG(1, 2))
	for _, ratio := range []uint32{0, 1, 10_000, 250_000, 500_000, Million} {
		s := NewSampler(Sampling{Ratio: ratio, PerSecond: 1e9})
		more := NewSampler(Sampling{Ratio: min(2*ratio, Million), PerSecond: 1e9})
		sampled := 0
		for range many {
			var c Context
			c.begin(random.Uint64(), random.Uint64(), "")
			c.began = false
			again := c
			if s.Decide(&c, now) != Export {
				continue
			}
			sampled++
			if more.Decide(&again, now) != Export {
				t.Fatalf("%v is sampled at %d, and not at %d", c.Trace, ratio, more.Ratio)
			}
		}
		want := float64(ratio) / Million * many
		if d := float64(sampled) - want; d*d > 36*(want+1) { // six standard deviations
			t.Errorf("%d of %d are sampled, want %.0f", sampled, many, want)
		}
	}
}

func TestATracesStateSaysHowItWasSampled(t *testing.T) {
	for ratio, want := range map[uint32]string{
		Million: "ot=th:0", Million / 2: "ot=th:8", Million / 4: "ot=th:c",
		10_000: "ot=th:fd70a3d70a3d7",
	} {
		if got := NewSampler(Sampling{Ratio: ratio, PerSecond: 1}).state; got != want {
			t.Errorf("of %d in a million: %s, want %s", ratio, got, want)
		}
	}
}

func TestWhatSomebodyHasDecidedHolds(t *testing.T) {
	const b3 = traceText + "-" + parentText
	never, always := Sampling{PerSecond: 100}, Sampling{Ratio: Million, PerSecond: 100}
	hold := Sampling{Hold: true, PerSecond: 100}
	const no = "traceparent: 00-" + traceText + "-" + parentText + "-00"
	for _, tt := range []struct {
		name     string
		sampling Sampling
		head     []string
		want     Verdict
		choice   Choice
	}{
		{"yes", never, []string{"traceparent: " + parent01}, Export, Yes},
		{"no", always, []string{no}, Ignore, No},
		{"no, and held", hold, []string{no}, Hold, No},
		{"open", always, []string{"b3: " + b3}, Export, Yes},
		{"open, and not sampled", never, []string{"b3: " + b3}, Ignore, Open},
		{"open, and held", hold, []string{"b3: " + b3}, Hold, No},
		{"nothing", always, nil, Export, Yes},
		{"nothing, and not sampled", never, nil, Ignore, Open},
		{"nothing, and held", hold, nil, Hold, No},
		{"no trace is wanted", always, []string{"b3: 0"}, Ignore, No},
		{"no trace is wanted, nor held", hold, []string{"x-b3-sampled: 0"}, Ignore, No},
		{"a trace is wanted", never, []string{"b3: 1"}, Export, Yes},
		{"not valid", never, []string{"traceparent: " + parent01 + "x"}, Ignore, Open},
	} {
		c := Extract(head(tt.head...))
		got := NewSampler(tt.sampling).Decide(&c, now)
		if got != tt.want || c.Choice != tt.choice {
			t.Errorf("%s: %v and %v, want %v and %v", tt.name, got, c.Choice, tt.want, tt.choice)
		}
		if (got == Export || got == Hold) && c.Trace == (ID{}) {
			t.Errorf("%s: the trace has no ID", tt.name)
		}
	}
}

// So many a second, as many at once, and no more for having been silent.
func TestSpansAreBounded(t *testing.T) {
	s := NewSampler(Sampling{Ratio: Million, PerSecond: 10})
	export := func(at time.Time, n int) (exported int) {
		for range n {
			var c Context
			if s.Decide(&c, at) == Export {
				exported++
			}
		}
		return exported
	}
	if n := export(now, 100); n != 10 {
		t.Errorf("%d at once, want 10", n)
	}
	if n := export(now.Add(500*time.Millisecond), 100); n != 5 {
		t.Errorf("%d after half a second, want 5", n)
	}
	if n := export(now.Add(time.Hour), 100); n != 10 {
		t.Errorf("%d after an hour, want 10", n)
	}
	s.Charge(now.Add(time.Hour), 1000)
	if n := export(now.Add(time.Hour+time.Second), 100); n != 10 {
		t.Errorf("%d a second after a burst of tries, want 10", n)
	}
	if s.Take(now.Add(time.Hour + time.Second)) {
		t.Error("one that was held is exported beyond the bound")
	}
}
