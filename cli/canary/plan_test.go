package canary

import (
	"strings"
	"testing"
	"time"
)

func testPlan() Plan {
	return Plan{Step: 20, Max: 50, Success: 99, P99: 500 * time.Millisecond, MinRequests: 100,
		Failures: 2, Withheld: 3}
}

func signals(requests uint64, success, p99 float64) Signals {
	return Signals{Requests: requests, Success: &success, P99Ms: &p99}
}

func TestVerdicts(t *testing.T) {
	good, idle := signals(1000, 100, 20), Signals{}
	for _, c := range []struct {
		name           string
		stable, canary Signals
		want           Outcome
		why            string
	}{
		{"good", good, good, Pass, ""},
		{"good enough", good, signals(100, 99, 500), Pass, ""},
		{"nobody called", good, idle, NoResult, "0 requests are too few"},
		{"one too few", good, signals(99, 0, 9000), NoResult, "99 requests are too few: 100"},
		{"failures", good, signals(100, 98.99, 20), Fail, "success is 98.99 %, below 99 %"},
		{"slow", good, signals(100, 100, 501), Fail, "p99 is 501 ms, above 500ms"},
		{"both fail", signals(100, 90, 20), signals(100, 80, 20), NoResult,
			"the old version falls short, too: success is 90.00 %"},
		{"the old one fails", signals(100, 90, 20), good, Pass, ""},
		{"the old one has no say", signals(99, 0, 20), signals(100, 80, 20), Fail, "80.00 %"},
		{"alone", idle, signals(100, 80, 20), Fail, "80.00 %"},
		{"no latency", good, Signals{Requests: 100, Success: good.Success}, Pass, ""},
	} {
		v := testPlan().Judge(c.stable, c.canary)
		if v.Outcome != c.want || !strings.Contains(v.Reason, c.why) ||
			(v.Reason == "") != (c.why == "") {
			t.Errorf("%s: %+v, want %s %q", c.name, v, c.want, c.why)
		}
	}
	patient := testPlan()
	patient.P99 = 0
	if v := patient.Judge(good, signals(100, 100, 60_000)); v.Outcome != Pass {
		t.Errorf("without a limit of p99: %+v", v)
	}
}

func TestSteps(t *testing.T) {
	for _, c := range []struct {
		name   string
		weight int    // that the route has at first
		checks string // P, F, W
		want   State
		begin  int // the first weight that is set
	}{
		{"all pass", 0, "PPPP", State{Promoted, 100, 0, 0}, 20},
		{"two pass", 0, "PP", State{Progressing, 50, 0, 0}, 20},
		{"one fails", 0, "PFP", State{Progressing, 50, 1, 0}, 20},
		{"two fail, not in a row", 0, "FPF", State{RolledBack, 0, 2, 0}, 20},
		{"it waits for requests", 0, "WWPWWP", State{Progressing, 50, 0, 0}, 20},
		{"nobody calls", 0, "PWWW", State{RolledBack, 0, 0, 3}, 20},
		{"a failure is a verdict", 0, "WWFWW", State{Progressing, 20, 1, 2}, 20},
		{"resumed", 40, "P", State{Progressing, 50, 0, 0}, 40},
		{"resumed beyond the most", 70, "", State{Progressing, 50, 0, 0}, 50},
		{"resumed at the end", 50, "P", State{Promoted, 100, 0, 0}, 50},
		{"there already", 100, "", State{Promoted, 100, 0, 0}, 100},
	} {
		p := testPlan()
		s := p.Start(c.weight)
		if s.Weight != c.begin {
			t.Errorf("%s: it begins with %d, want %d", c.name, s.Weight, c.begin)
		}
		for _, check := range c.checks {
			if s.Phase != Progressing {
				break
			}
			s = p.Next(s, Verdict{Outcome: map[rune]Outcome{
				'P': Pass, 'F': Fail, 'W': NoResult}[check]})
		}
		if s != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, s, c.want)
		}
	}
}

func TestPlansThatMakeNoSense(t *testing.T) {
	if err := testPlan().Check(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Plan){
		"--step 0":         func(p *Plan) { p.Step = 0 },
		"--step 101":       func(p *Plan) { p.Step = 101 },
		"--max 10":         func(p *Plan) { p.Max = 10 },
		"--max 101":        func(p *Plan) { p.Max = 101 },
		"--success 101":    func(p *Plan) { p.Success = 101 },
		"--p99 -1s":        func(p *Plan) { p.P99 = -time.Second },
		"--min-requests 0": func(p *Plan) { p.MinRequests = 0 },
		"--threshold 0":    func(p *Plan) { p.Failures = 0 },
		"--inconclusive 0": func(p *Plan) { p.Withheld = 0 },
	} {
		p := testPlan()
		change(&p)
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
