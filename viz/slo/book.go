package slo

import (
	"cmp"
	"slices"
	"time"
)

// Book has the counts of all objectives. Whoever keeps it sees to it that one thing happens to it
// at a time, and calls Tick every few seconds.
type Book struct {
	clock   clock
	ledgers map[key]*Ledger
	refused int
}

// NewBook knows nothing.
func NewBook() *Book { return &Book{ledgers: map[key]*Ledger{}} }

// Tick says what time it is. What happened in a minute without a tick is not known.
func (b *Book) Tick(now time.Time) {
	b.clock.tick(now)
	b.clock.forget()
}

// Set says which objectives there are. One that is new, or that is about other requests than
// before, begins with nothing: these are returned. Of more than MaxObjectives the first count, in
// the order of their names.
func (b *Book) Set(now time.Time, all []Objective) (added []*Ledger) {
	slot := b.clock.tick(now)
	all = slices.SortedFunc(slices.Values(all), func(x, y Objective) int {
		return cmp.Or(cmp.Compare(x.Namespace, y.Namespace), cmp.Compare(x.Name, y.Name))
	})
	b.refused = max(0, len(all)-MaxObjectives)
	all = all[:len(all)-b.refused]
	next := make(map[key]*Ledger, len(all))
	for _, o := range all {
		l := b.ledgers[o.key()]
		if l != nil && l.objective.counts(&o) {
			l.objective = o
		} else {
			l = newLedger(o, slot)
			added = append(added, l)
		}
		next[o.key()] = l
	}
	b.ledgers = next
	return added
}

// Refused is how many objectives there are beyond MaxObjectives.
func (b *Book) Refused() int { return b.refused }

// Ledgers are those of all objectives, by namespace and name.
func (b *Book) Ledgers() []*Ledger {
	out := make([]*Ledger, 0, len(b.ledgers))
	for _, l := range b.ledgers {
		out = append(out, l)
	}
	slices.SortFunc(out, func(x, y *Ledger) int {
		return cmp.Or(cmp.Compare(x.objective.Namespace, y.objective.Namespace),
			cmp.Compare(x.objective.Name, y.objective.Name))
	})
	return out
}

// Add counts requests that ended now.
func (b *Book) Add(now time.Time, l *Ledger, c Count) {
	l.add(b.clock.tick(now), c)
	l.total.add(c)
}

// Recall counts requests that ended some time ago, as others remember them.
func (b *Book) Recall(l *Ledger, ago time.Duration, c Count) {
	slot := b.clock.now - int64(ago/slotLength)
	l.since = min(l.since, slot)
	l.add(slot, c)
}
