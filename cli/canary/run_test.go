package canary

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// world is a route and what is measured of it, on synctest's clock.
type world struct {
	weight   int
	sets     []int
	events   []Event
	measured []Signals // of the canary, one for each check; the last one stays
	measure  func() error
	set      func() error
}

func (w *world) run() *Run {
	next := 0
	return &Run{
		Plan: testPlan(), Interval: 30 * time.Second,
		Weight: func(context.Context) (int, error) { return w.weight, nil },
		Set: func(ctx context.Context, was, is int) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if w.set != nil {
				return w.set()
			}
			if was != w.weight {
				return ErrTaken
			}
			w.weight, w.sets = is, append(w.sets, is)
			return nil
		},
		Measure: func(context.Context) (stable, canary Signals, err error) {
			if w.measure != nil {
				err = w.measure()
			}
			canary = w.measured[min(next, len(w.measured)-1)]
			next++
			return signals(1000, 100, 20), canary, err
		},
		Tell: func(e Event) { w.events = append(w.events, e) },
	}
}

var (
	healthy = signals(1000, 100, 20)
	failing = signals(1000, 50, 20)
)

func TestACanaryThatDoesWellIsPromoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{measured: []Signals{healthy}}
		begin := time.Now()
		phase, err := w.run().Do(t.Context())
		if phase != Promoted || err != nil {
			t.Errorf("%s, %v", phase, err)
		}
		if want := []int{20, 40, 50, 100}; !slices.Equal(w.sets, want) {
			t.Errorf("weights %v, want %v", w.sets, want)
		}
		if took := time.Since(begin); took != 90*time.Second {
			t.Errorf("three checks took %s", took)
		}
		if len(w.events) != 4 || w.events[0].Check != nil || w.events[3].Phase != Promoted ||
			w.events[3].Check.Weight != 50 || w.events[3].Check.Canary.Requests != 1000 {
			t.Errorf("told %+v", w.events)
		}
	})
}

func TestACanaryThatFailsIsRolledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{measured: []Signals{healthy, failing}}
		phase, err := w.run().Do(t.Context())
		if phase != RolledBack || err != nil {
			t.Errorf("%s, %v", phase, err)
		}
		if want := []int{20, 40, 0}; !slices.Equal(w.sets, want) {
			t.Errorf("weights %v, want %v", w.sets, want)
		}
		last := w.events[len(w.events)-1]
		if last.Failed != 2 || !strings.Contains(last.Check.Reason, "success is 50.00 %") {
			t.Errorf("told %+v", last)
		}
	})
}

// What cannot be measured is no failure, but does not go on for ever.
func TestWithoutAVerdictItWaitsAndThenGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{measured: []Signals{healthy}}
		failures := 2
		w.measure = func() error {
			if failures--; failures >= 0 {
				return errors.New("viz does not answer")
			}
			return nil
		}
		if phase, err := w.run().Do(t.Context()); phase != Promoted || err != nil {
			t.Errorf("%s, %v", phase, err)
		}
		failures = 100
		w.weight = 0
		if phase, err := w.run().Do(t.Context()); phase != RolledBack || err != nil {
			t.Errorf("%s, %v", phase, err)
		}
		if last := w.events[len(w.events)-1]; last.Check.Reason != "viz does not answer" {
			t.Errorf("told %+v", last)
		}
	})
}

func TestAnInterruptionRollsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{measured: []Signals{healthy}}
		ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
		defer cancel()
		phase, err := w.run().Do(ctx)
		if phase != RolledBack || err != nil {
			t.Errorf("%s, %v", phase, err)
		}
		if want := []int{20, 40, 0}; !slices.Equal(w.sets, want) {
			t.Errorf("weights %v, want %v", w.sets, want)
		}
	})
}

// An interruption in the midst of a check is no verdict on the version.
func TestAnInterruptionDuringACheckRollsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := &world{measured: []Signals{healthy}}
		w.measure = func() error { cancel(); return nil }
		phase, err := w.run().Do(ctx)
		if phase != RolledBack || err != nil {
			t.Errorf("%s, %v", phase, err)
		}
		if want := []int{20, 0}; !slices.Equal(w.sets, want) {
			t.Errorf("weights %v, want %v", w.sets, want)
		}
	})
}

// One that was killed goes on where it was.
func TestItGoesOnWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{weight: 40, measured: []Signals{healthy}}
		if phase, err := w.run().Do(t.Context()); phase != Promoted || err != nil {
			t.Errorf("%s, %v", phase, err)
		}
		if want := []int{50, 100}; !slices.Equal(w.sets, want) {
			t.Errorf("weights %v, want %v", w.sets, want)
		}
		w.sets = nil
		if phase, err := w.run().Do(t.Context()); phase != Promoted || err != nil {
			t.Errorf("again: %s, %v", phase, err)
		}
		if len(w.sets) > 0 {
			t.Errorf("again: weights %v", w.sets)
		}
	})
}

func TestWeightsThatSomebodyElseChangedAreLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{measured: []Signals{healthy}}
		w.measure = func() error { w.weight = 7; return nil }
		if _, err := w.run().Do(t.Context()); !errors.Is(err, ErrTaken) {
			t.Errorf("taken while it measured: %v", err)
		}
		if w.weight != 7 {
			t.Errorf("the weight is %d", w.weight)
		}
		w.weight, w.measure = 0, nil
		r := w.run()
		r.Tell = func(Event) { w.weight = 7 }
		if _, err := r.Do(t.Context()); !errors.Is(err, ErrTaken) ||
			!strings.Contains(err.Error(), "had 20 %, and has 7 %") {
			t.Errorf("taken while it waited: %v", err)
		}
	})
}

func TestAChangeThatIsRefusedEndsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &world{measured: []Signals{healthy}}
		w.set = func() error { return fmt.Errorf("forbidden") }
		_, err := w.run().Do(t.Context())
		if err == nil || !strings.Contains(err.Error(), "give the new version 20 %: forbidden") {
			t.Errorf("%v", err)
		}
	})
}
