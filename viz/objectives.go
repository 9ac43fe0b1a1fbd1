package viz

import (
	"context"
	"time"

	"github.com/tulle-mesh/tulle/viz/slo"
)

// objectives are the service level objectives there are, and what is counted for them. The store's
// lock guards them.
type objectives struct {
	book *slo.Book
	of   map[key][]*slo.Ledger // by the service that they are about
	keep *slo.Keep             // set once, and nil where nothing is kept
	// since is when this viz went on with what another one had kept; zero: it did not.
	since time.Time
}

func newObjectives() objectives {
	return objectives{book: slo.NewBook(), of: map[key][]*slo.Ledger{}}
}

// SetObjectives says which service level objectives there are, all of them. What is counted for one
// begins with what the history has of its requests. It may be called at any time.
func (v *Server) SetObjectives(all []slo.Objective) { v.store.setObjectives(time.Now(), all) }

func (s *store) setObjectives(now time.Time, all []slo.Objective) {
	s.mu.Lock()
	defer s.mu.Unlock()
	added := s.objectives.book.Set(now, all)
	s.assignLocked()
	s.recallLocked(now, added)
}

// assignLocked finds out which series count for which objectives.
func (s *store) assignLocked() {
	s.objectives.of = map[key][]*slo.Ledger{}
	for _, l := range s.objectives.book.Ledgers() {
		o := l.Objective()
		service := key{o.Namespace, "service", o.Service}
		s.objectives.of[service] = append(s.objectives.of[service], l)
	}
	for _, t := range []*table{&s.parts, &s.level} {
		for _, one := range t.all {
			if one != nil {
				one.ledgers = s.ledgersLocked(one)
			}
		}
	}
}

// ledgersLocked are where a series counts: callers' proxies say how a service does, for only they
// know what became of a request in the end.
func (s *store) ledgersLocked(one *series) (out []*slo.Ledger) {
	if !one.labels.outbound() || len(s.objectives.of) == 0 {
		return nil
	}
	service, _ := one.destination("service")
	for _, l := range s.objectives.of[service] {
		if o := l.Objective(); o.Route == "" || o.Route == routeName(one.labels) {
			out = append(out, l)
		}
	}
	return out
}

// retold says whether the first report of a proxy may tell of what another viz has counted already,
// for it is kept: the proxy is older than this viz. What it is about then does not count. It may
// have been a moment in which there was no viz.
func (o *objectives) retold(now time.Time, uptime time.Duration) bool {
	return now.Add(-uptime).Before(o.since)
}

// count counts what a series grew by.
func (o *objectives) count(now time.Time, one *series, delta *sample) {
	for _, l := range one.ledgers {
		if c := delta.judged(l.Objective()); c.Requests > 0 {
			o.book.Add(now, l, c)
		}
	}
}

// judged is how many requests there were, and how many of them went wrong: that failed, or were not
// fast enough. The histogram does not tell which of the slow ones failed. One that ended at its
// timeout did both, where any was slow; of the others none is both, so that nothing which went
// wrong is missed.
func (s *sample) judged(o *slo.Objective) slo.Count {
	c := &s.counters
	failed, slow := c[failures], uint64(0)
	if first := o.Bucket(); first > 0 {
		for _, b := range s.buckets {
			if int(b.index) >= first {
				slow += b.count
			}
		}
	}
	both := min(c[timeouts], failed, slow)
	return slo.Count{Requests: c[requests], Bad: min(c[requests], failed+slow-both)}
}

// recallLocked gives ledgers what the history has for them.
func (s *store) recallLocked(now time.Time, added []*slo.Ledger) {
	isNew := make(map[*slo.Ledger]bool, len(added))
	for _, l := range added {
		isNew[l] = true
	}
	current, book := slotNumber(now), s.objectives.book
	recall := func(number int64, one *series, d *sample) {
		ago := time.Duration(max(0, current-number)) * slotLength
		for _, l := range one.ledgers {
			if isNew[l] {
				book.Recall(l, ago, d.judged(l.Objective()))
			}
		}
	}
	if len(added) == 0 {
		return
	}
	for _, l := range added {
		book.Recall(l, s.history.length(current), slo.Count{})
	}
	s.history.each(recall)
}

// length is how far the history goes back.
func (h *history) length(current int64) time.Duration {
	if len(h.closed) == 0 {
		return 0
	}
	return time.Duration(max(0, current-h.closed[0].number)) * slotLength
}

// each calls f for every sample that is kept, with the slot's number: of wholes in slots that are
// closed, of their parts in the open one. The sample is f's until it returns.
func (h *history) each(f func(number int64, one *series, d *sample)) {
	var scratch sample
	for _, sl := range h.closed {
		for i, index := range sl.wholes.index {
			if whole := h.level.all[index]; whole != nil {
				scratch.parse(sl.wholes.sample(i))
				f(sl.number, whole, &scratch)
			}
		}
	}
	if h.open == nil {
		return
	}
	for one, sum := range h.open.samples {
		scratch.parse(sum)
		f(h.open.number, one, &scratch)
	}
}

// openKeep reads what was counted for objectives before, and goes on in the same file. Without one,
// or where that cannot be, they begin with nothing.
func (v *Server) openKeep() {
	if v.cfg.ObjectivesFile == "" {
		return
	}
	keep, lost, err := slo.OpenKeep(v.cfg.ObjectivesFile, v.store.objectives.book, time.Now())
	if err != nil {
		v.cfg.Log.Error("what is counted for objectives is not kept", "err", err)
		return
	}
	if lost > 0 {
		v.cfg.Log.Warn("some of what was counted for objectives cannot be read",
			"file", v.cfg.ObjectivesFile, "lines", lost)
	}
	v.store.mu.Lock()
	defer v.store.mu.Unlock()
	v.store.objectives.keep = keep
	if len(v.store.objectives.book.Ledgers()) > 0 {
		v.store.objectives.since = time.Now()
		v.store.assignLocked()
	}
}

// keepTime tells objectives what time it is, for no news are good news only while somebody
// listens, and writes down what was counted.
func (v *Server) keepTime(ctx context.Context) error {
	ticker := time.NewTicker(slotLength)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := v.store.tick(time.Now()); err != nil {
				v.cfg.Log.Warn("a minute of what is counted for objectives is not kept", "err", err)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *store) tick(now time.Time) error {
	text := s.turn(now)
	if s.objectives.keep == nil {
		return nil
	}
	return s.objectives.keep.Append(text)
}

// turn returns what is to be written down.
func (s *store) turn(now time.Time) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objectives.book.Tick(now)
	if s.objectives.keep == nil {
		return nil
	}
	return s.objectives.keep.Lines(s.objectives.book, false)
}

// closeKeep writes down what there is. Nothing is counted any more.
func (v *Server) closeKeep() error {
	v.store.mu.Lock()
	defer v.store.mu.Unlock()
	if v.store.objectives.keep == nil {
		return nil
	}
	err := v.store.objectives.keep.Close(v.store.objectives.book)
	v.store.objectives.keep = nil
	return err
}

// Objectives is the answer to /api/slo.
type Objectives struct {
	Rows []ObjectiveRow `json:"rows"`
	// Refused is how many there are beyond what viz keeps.
	Refused int `json:"refused,omitempty"`
}

// ObjectiveRow is how a service level objective stands.
type ObjectiveRow struct {
	Name          string   `json:"name"`
	Namespace     string   `json:"namespace"`
	Service       string   `json:"service"`
	Route         string   `json:"route,omitempty"`
	Objective     float64  `json:"objective"` // 0 to 1: what is promised
	WindowSeconds float64  `json:"windowSeconds"`
	LatencyMs     *float64 `json:"latencyMs,omitempty"` // that is promised
	// Since is from when on, within the window, anything is known.
	Since    time.Time `json:"since"`
	Requests uint64    `json:"requests"` // since then
	Bad      uint64    `json:"bad"`
	// SuccessRate is the part that went well, 0 to 1; nil: there were no requests.
	SuccessRate *float64 `json:"successRate"`
	// BudgetLeft is the part of the window's error budget that is left: 1 to 0, and below where
	// more was used than there was.
	BudgetLeft float64 `json:"budgetLeft"`
	// ExhaustedInSeconds is after how long none is left, if it goes on as in the last hour; nil:
	// not within the window.
	ExhaustedInSeconds *float64    `json:"exhaustedInSeconds"`
	Burns              []BurnRow   `json:"burns"`
	Alert              *BurnAlert  `json:"alert"` // the gravest that fires; nil: none
	Alerts             []BurnAlert `json:"alerts"`
}

// BurnRow is how fast an objective's budget burns in a window.
type BurnRow struct {
	Window        string   `json:"window"` // 5m, 1h, 3d
	WindowSeconds float64  `json:"windowSeconds"`
	Requests      uint64   `json:"requests"`
	Rate          *float64 `json:"rate"` // 1 uses it up in just the objective's window
	// Known is the part of the window of which anything is known, 0 to 1.
	Known float64 `json:"known"`
}

// BurnAlert is two windows in both of which the budget must burn faster than Burn.
type BurnAlert struct {
	Severity string  `json:"severity"` // page or ticket
	Burn     float64 `json:"burn"`
	Long     string  `json:"long"`
	Short    string  `json:"short"`
}

// slo answers /api/slo.
func (s *store) slo(now time.Time, q Query) (*Objectives, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	book := s.objectives.book
	out := &Objectives{Rows: []ObjectiveRow{}, Refused: book.Refused()}
	for _, l := range book.Ledgers() {
		o := l.Objective()
		if q.Namespace != "" && o.Namespace != q.Namespace || q.Name != "" && o.Name != q.Name {
			continue
		}
		standing := book.Standing(now, l)
		out.Rows = append(out.Rows, objectiveRow(&standing))
	}
	return out, nil
}

func objectiveRow(s *slo.Standing) ObjectiveRow {
	row := ObjectiveRow{
		Name: s.Name, Namespace: s.Namespace, Service: s.Service, Route: s.Route,
		Objective: s.Target, WindowSeconds: s.Window.Seconds(), Since: s.Since,
		Requests: s.Requests, Bad: s.Bad, SuccessRate: s.OK, BudgetLeft: s.Left,
	}
	if s.Latency > 0 {
		ms := float64(s.Latency) / float64(time.Millisecond)
		row.LatencyMs = &ms
	}
	if s.Exhausted != nil {
		seconds := s.Exhausted.Seconds()
		row.ExhaustedInSeconds = &seconds
	}
	for _, b := range s.Burns {
		row.Burns = append(row.Burns, BurnRow{Window: slo.Short(b.Window),
			WindowSeconds: b.Window.Seconds(), Requests: b.Requests, Rate: b.Rate, Known: b.Known})
	}
	for _, p := range s.Pairs() {
		row.Alerts = append(row.Alerts, burnAlert(p))
	}
	if s.Alert != nil {
		fires := burnAlert(*s.Alert)
		row.Alert = &fires
	}
	return row
}

func burnAlert(p slo.Pair) BurnAlert {
	return BurnAlert{p.Severity, p.Burn, slo.Short(p.Long), slo.Short(p.Short)}
}

// writeObjectives writes what the rules of `meshctl slo rules` go by.
func (s *store) writeObjectives(p page) {
	s.mu.RLock()
	ledgers := s.objectives.book.Ledgers()
	totals := make([]slo.Count, len(ledgers))
	for i, l := range ledgers {
		totals[i] = l.Total()
	}
	s.mu.RUnlock()
	write := func(f family, of func(slo.Count) uint64) {
		p.family(f, counterFamily)
		for i, l := range ledgers {
			o := l.Objective()
			p.sample([]string{slo.NamespaceLabel, o.Namespace, slo.NameLabel, o.Name},
				float64(of(totals[i])))
		}
	}
	write(family{slo.RequestsMetric, "Requests that a service level objective is about."},
		func(c slo.Count) uint64 { return c.Requests })
	write(family{slo.BadMetric, "Of these, those that failed or were not fast enough."},
		func(c slo.Count) uint64 { return c.Bad })
}
