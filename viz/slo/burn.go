package slo

import "time"

// Pair is two windows by which an objective alerts: the long one says that it matters, the short
// one that it still goes on. Both must burn the budget faster than Burn.
type Pair struct {
	Severity    string // page or ticket
	Burn        float64
	Long, Short time.Duration
}

// The severities: somebody must look now, or in the next days.
const (
	Page   = "page"
	Ticket = "ticket"
)

const (
	// MinRequests is how many requests the long window of a pair must have: by a few, one that goes
	// wrong is a catastrophe.
	MinRequests = 30

	// usualWindow is what the burn rates of usual are made for.
	usualWindow = 30 * day
)

// usual are the pairs of the SRE workbook: they use up 2 %, 5 %, 10 % and 10 % of a budget of 30
// days.
var usual = []Pair{
	{Page, 14.4, time.Hour, 5 * time.Minute},
	{Page, 6, 6 * time.Hour, 30 * time.Minute},
	{Ticket, 3, day, 2 * time.Hour},
	{Ticket, 1, 3 * day, 6 * time.Hour},
}

// Pairs are an objective's. For another window than 30 days burn rates are scaled, so that an alert
// means the same part of the budget; but never below 1, which any budget bears for ever.
func (o *Objective) Pairs() []Pair {
	var out []Pair
	for _, p := range usual {
		if p.Long > o.Window {
			continue
		}
		p.Burn = max(1, p.Burn*float64(o.Window)/float64(usualWindow))
		out = append(out, p)
	}
	return out
}

// Burn is how fast the budget burns in a window: 1 uses it up in just the objective's own.
type Burn struct {
	Window   time.Duration
	Requests uint64
	Rate     *float64 // of the requests that were seen; nil: there were none
	// Known is the part of the window of which anything is known, 0 to 1.
	Known float64
}

// spent is the rate if nothing went wrong in the time that nobody saw. A pair's long window is
// judged by it: 6 for an hour is not 6 for six hours.
func (b Burn) spent() float64 {
	if b.Rate == nil {
		return 0
	}
	return *b.Rate * b.Known
}

// rate is 0 where there were no requests.
func (b Burn) rate() float64 {
	if b.Rate == nil {
		return 0
	}
	return *b.Rate
}

// Standing is how an objective stands.
type Standing struct {
	Objective
	Since time.Time // from when on anything is known, within the window
	Count           // since then
	OK    *float64  // the part that went well, 0 to 1; nil: there were no requests
	// Left is what is left of the window's budget, 1 to nothing and below: what was used since
	// Since, as if nothing had gone wrong in the rest of the window, and as much had been asked.
	Left float64
	// Exhausted is after how long nothing is left, if it goes on as in the last hour; nil: not
	// within the window.
	Exhausted *time.Duration
	Burns     []Burn // by window, the shortest first
	Alert     *Pair  // the gravest that fires; nil: none
}

// burnWindows are all that a pair may have.
var burnWindows = []time.Duration{5 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour,
	6 * time.Hour, day, 3 * day}

// Standing is how an objective stands now.
func (b *Book) Standing(now time.Time, l *Ledger) Standing {
	b.clock.tick(now)
	return l.standing(&b.clock)
}

func (l *Ledger) standing(c *clock) Standing {
	o := &l.objective
	whole := l.window(c, o.Window)
	s := Standing{Objective: *o, Since: c.wall(whole.since), Count: whole.Count, Left: 1}
	if bad := whole.badRatio(); bad != nil {
		ok := 1 - *bad
		s.OK, s.Left = &ok, 1-*bad/o.allowed()*whole.known
	}
	for _, w := range burnWindows {
		if w <= o.Window {
			s.Burns = append(s.Burns, l.burn(c, w))
		}
	}
	s.Exhausted = s.exhausted()
	s.Alert = s.alert()
	return s
}

func (l *Ledger) burn(c *clock, window time.Duration) Burn {
	w := l.window(c, window)
	b := Burn{Window: window, Requests: w.Requests, Known: w.known}
	if bad := w.badRatio(); bad != nil {
		rate := *bad / l.objective.allowed()
		b.Rate = &rate
	}
	return b
}

// Burn is the one of a window, which is one of a pair's.
func (s *Standing) Burn(window time.Duration) Burn {
	for _, b := range s.Burns {
		if b.Window == window {
			return b
		}
	}
	return Burn{Window: window}
}

// exhausted goes by the last hour. At a burn of 1 or less what goes wrong leaves the window as fast
// as it comes; and beyond the window everything of today has left it.
func (s *Standing) exhausted() *time.Duration {
	burn := s.Burn(time.Hour).rate()
	never := burn == 0 || s.Left > burn
	switch {
	case s.Left <= 0:
		return new(time.Duration)
	case never:
		return nil
	}
	left := time.Duration(s.Left / burn * float64(s.Window))
	return &left
}

// alert is the first pair that fires: they come in the order of their gravity.
func (s *Standing) alert() *Pair {
	for _, p := range s.Pairs() {
		long, short := s.Burn(p.Long), s.Burn(p.Short)
		if long.Requests >= MinRequests && long.spent() > p.Burn && short.rate() > p.Burn {
			return &p
		}
	}
	return nil
}
