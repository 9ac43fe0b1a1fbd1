package canary

import (
	"errors"
	"fmt"
	"time"
)

// whole is the sum of the two weights: they are percentages.
const whole = 100

// Plan is how a canary goes, and what is asked of it.
type Plan struct {
	Step        int           // percent that is added after each check that passed
	Max         int           // percent after which a check that passes promotes it
	Success     float64       // percent of requests that have to succeed
	P99         time.Duration // that answers may take; 0: any
	MinRequests uint64        // in a check; with fewer there is no verdict
	Failures    int           // checks that failed, in all, after which it is rolled back
	Withheld    int           // checks in a row without a verdict, after which it is rolled back
}

// Check refuses plans that make no sense.
func (p Plan) Check() error {
	switch {
	case p.Step < 1 || p.Step > whole:
		return fmt.Errorf("--step %d: use 1 to 100", p.Step)
	case p.Max < p.Step || p.Max > whole:
		return fmt.Errorf("--max %d: use --step, which is %d, to 100", p.Max, p.Step)
	case p.Success < 0 || p.Success > whole:
		return fmt.Errorf("--success %v: use 0 to 100", p.Success)
	case p.P99 < 0:
		return fmt.Errorf("--p99 %s: use a duration, or 0 for none", p.P99)
	case p.MinRequests < 1:
		return errors.New("--min-requests 0: use 1 or more: of no requests nothing is known")
	case p.Failures < 1:
		return fmt.Errorf("--threshold %d: use 1 or more", p.Failures)
	case p.Withheld < 1:
		return fmt.Errorf("--inconclusive %d: use 1 or more", p.Withheld)
	}
	return nil
}

// Phase is how far a canary is.
type Phase string

// The phases. Of the last two a canary has one at its end.
const (
	Progressing Phase = "Progressing"
	Promoted    Phase = "Promoted"
	RolledBack  Phase = "RolledBack"
)

// State is where a canary is.
type State struct {
	Phase    Phase
	Weight   int // the new version's percentage
	Failed   int // checks
	Withheld int // checks, since the last verdict
}

// Start is the first state of a route in which the new version has a weight already, or none. One
// that has some is one that was interrupted: it goes on from there, but not beyond Max without a
// check.
func (p Plan) Start(weight int) State {
	switch {
	case weight >= whole:
		return State{Phase: Promoted, Weight: whole}
	case weight <= 0:
		weight = p.Step
	}
	return State{Phase: Progressing, Weight: min(weight, p.Max)}
}

// Signals are what the callers' proxies measured of one version during a check.
type Signals struct {
	Requests uint64 `json:"requests"`
	// Success is in percent, after retries or before, whichever is less; nil: there was no request.
	Success *float64 `json:"success,omitempty"`
	P99Ms   *float64 `json:"p99Ms,omitempty"`
}

// Outcome is what came of a check.
type Outcome string

// The outcomes.
const (
	Pass     Outcome = "pass"
	Fail     Outcome = "fail"
	NoResult Outcome = "withheld"
)

// Verdict is an outcome, and why it is not Pass.
type Verdict struct {
	Outcome Outcome `json:"verdict"`
	Reason  string  `json:"reason,omitempty"`
}

// Judge compares the new version with what is asked. Where the old one falls short of it in the
// same time, and has requests enough to say so, the fault may be in what both depend on: then there
// is no verdict.
func (p Plan) Judge(stable, canary Signals) Verdict {
	if canary.Requests < p.MinRequests {
		return Verdict{NoResult, fmt.Sprintf("%d requests are too few: %d are asked for",
			canary.Requests, p.MinRequests)}
	}
	why := p.shortfall(canary)
	if why == "" {
		return Verdict{Outcome: Pass}
	}
	if stable.Requests >= p.MinRequests {
		if too := p.shortfall(stable); too != "" {
			return Verdict{NoResult, why + ", but the old version falls short, too: " + too}
		}
	}
	return Verdict{Fail, why}
}

// shortfall says in what a version is not good enough, or "".
func (p Plan) shortfall(s Signals) string {
	if s.Success != nil && *s.Success < p.Success {
		return fmt.Sprintf("success is %.2f %%, below %v %%", *s.Success, p.Success)
	}
	limit := float64(p.P99) / float64(time.Millisecond)
	if limit > 0 && s.P99Ms != nil && *s.P99Ms > limit {
		return fmt.Sprintf("p99 is %.0f ms, above %s", *s.P99Ms, p.P99)
	}
	return ""
}

// Next is the state after a check. Failures add up over all steps, as Flagger counts them: a
// version that fails now and then is not good.
func (p Plan) Next(s State, v Verdict) State {
	switch v.Outcome {
	case Pass:
		s.Withheld = 0
		if s.Weight >= p.Max {
			return State{Phase: Promoted, Weight: whole, Failed: s.Failed}
		}
		s.Weight = min(s.Weight+p.Step, p.Max)
	case Fail:
		s.Withheld = 0
		if s.Failed++; s.Failed >= p.Failures {
			return s.rolledBack()
		}
	case NoResult:
		if s.Withheld++; s.Withheld >= p.Withheld {
			return s.rolledBack()
		}
	}
	return s
}

func (s State) rolledBack() State {
	s.Phase, s.Weight = RolledBack, 0
	return s
}
