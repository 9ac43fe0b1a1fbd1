package canary

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Bounds of what a check may take.
const (
	// settleTimeout is how long a change of weights may take until the mesh has accepted it.
	settleTimeout = time.Minute
	// checkTimeout bounds the reading of the route and of what was measured.
	checkTimeout = 20 * time.Second
)

// ErrTaken is a route whose weights somebody else has changed meanwhile. They are left as they are.
var ErrTaken = errors.New("somebody else has changed the weights: they are left as they are")

// Run is one canary, and the means to move it.
type Run struct {
	Plan     Plan
	Interval time.Duration // between checks; what is measured is measured over it
	// Weight reads the new version's percentage.
	Weight func(context.Context) (int, error)
	// Set changes the new version's percentage, and returns once the mesh has accepted it. It is
	// ErrTaken if the percentage is not was any more.
	Set func(ctx context.Context, was, is int) error
	// Measure asks how the two versions did during the last Interval.
	Measure func(context.Context) (stable, canary Signals, err error)
	// Tell is called after the beginning and after each check.
	Tell func(Event)
}

// Event is what happened in a canary.
type Event struct {
	Time   time.Time `json:"time"`
	Phase  Phase     `json:"phase"`
	Weight int       `json:"weight"` // from now on, percent
	// Of a check; nil at the beginning.
	Check *Check `json:"check,omitempty"`
	// Failed counts the checks that failed up to now.
	Failed int `json:"failed"`
}

// Check is what one check found.
type Check struct {
	Verdict
	Weight int     `json:"weight"` // that was checked
	Canary Signals `json:"canary"`
	Stable Signals `json:"stable"`
}

// Do moves the canary to its end, which it returns. If the context ends before that the canary is
// rolled back. After an error the weights are what the last Event said, or what the error says was
// being set.
func (r *Run) Do(ctx context.Context) (Phase, error) {
	was, err := r.Weight(ctx)
	if err != nil {
		return "", err
	}
	state := r.Plan.Start(was)
	if was != state.Weight {
		if err := r.set(ctx, was, state.Weight); err != nil {
			return "", err
		}
	}
	r.tell(state, nil)
	for state.Phase == Progressing {
		if !sleep(ctx, r.Interval) {
			return r.interrupted(ctx, state)
		}
		if state, err = r.check(ctx, state); err != nil {
			return "", err
		}
	}
	return state.Phase, nil
}

// check is one check, and the change of weights that follows from it.
func (r *Run) check(ctx context.Context, state State) (State, error) {
	found, err := r.measure(ctx, state)
	if err != nil || ctx.Err() != nil { // a check that was interrupted is none
		return state, err
	}
	next := r.Plan.Next(state, found.Verdict)
	if next.Weight != state.Weight {
		if err := r.set(ctx, state.Weight, next.Weight); err != nil {
			return state, err
		}
	}
	r.tell(next, found)
	return next, nil
}

// measure makes a check. What cannot be measured, for a port-forward broke or the API server is
// away, gives no verdict: it says nothing against the new version.
func (r *Run) measure(ctx context.Context, state State) (*Check, error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	found := &Check{Weight: state.Weight}
	is, err := r.Weight(ctx)
	if err == nil && is != state.Weight {
		return nil, fmt.Errorf("%w (the new version had %d %%, and has %d %%)", ErrTaken,
			state.Weight, is)
	}
	if err == nil {
		found.Stable, found.Canary, err = r.Measure(ctx)
	}
	if err != nil {
		found.Verdict = Verdict{NoResult, err.Error()}
		return found, nil
	}
	found.Verdict = r.Plan.Judge(found.Stable, found.Canary)
	return found, nil
}

// set does not end with the context: weights that are half set help nobody.
func (r *Run) set(ctx context.Context, was, is int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	if err := r.Set(ctx, was, is); err != nil {
		return fmt.Errorf("give the new version %d %%: %w", is, err)
	}
	return nil
}

// interrupted rolls back: nobody would notice if the new version failed.
func (r *Run) interrupted(ctx context.Context, state State) (Phase, error) {
	next := state.rolledBack()
	if err := r.set(ctx, state.Weight, next.Weight); err != nil {
		return "", fmt.Errorf("interrupted: %w", err)
	}
	r.tell(next, &Check{Verdict: Verdict{NoResult, "interrupted"}, Weight: state.Weight})
	return next.Phase, nil
}

func (r *Run) tell(s State, found *Check) {
	r.Tell(Event{Time: time.Now(), Phase: s.Phase, Weight: s.Weight, Check: found,
		Failed: s.Failed})
}

// sleep reports whether the time passed before the context ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
