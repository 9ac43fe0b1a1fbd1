package metric

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"weak"
)

const (
	// MaxSeries bounds memory (2.1 KB a series with latencies, so 2 MB) and what a peer's traffic
	// can make viz keep.
	MaxSeries = 1000
	// RetireAfter is how long a series must have been idle. Where there is a viz, it must have
	// acknowledged all of it, too, unless there is no other room.
	RetireAfter = 10 * time.Minute
	// sweepEvery limits how often a full table is searched for idle series.
	sweepEvery = time.Minute
	// sweepFrom is the number of series below which there is room enough, so that none is retired.
	sweepFrom = MaxSeries / 2
)

// Registry holds the cells of one process. Use NewRegistry.
type Registry struct {
	Connections       atomic.Int64 // a gauge: accepted connections that are open
	CertificateExpiry atomic.Int64 // of the current SVID, Unix seconds; 0 before there is one

	dropped  atomic.Uint64
	counters counters
	clusters clusters
	limited  limited

	concurrencies concurrencies

	mu     sync.Mutex // guards what follows
	series map[Labels]*series
	other  map[Direction]*series
	lastID uint32
	swept  time.Time
	told   bool      // there is a viz, which acknowledges
	acked  time.Time // until when it has all that was counted
}

// series is one row of the table. One that was retired refers to its cell weakly. As long as a
// connection or a route keeps the cell, the row is still counted and shown. Once none does, the
// garbage collector takes the cell, and the row is deleted.
type series struct {
	id        uint32
	labels    Labels
	cell      *Cell // nil when retired
	retired   weak.Pointer[Cell]
	seen      uint64 // the cell's activity at the last sweep
	idleSince time.Time
}

func (s *series) load() *Cell {
	if s.cell != nil {
		return s.cell
	}
	return s.retired.Value()
}

// NewRegistry makes an empty registry.
func NewRegistry() *Registry {
	return &Registry{
		series: map[Labels]*series{}, other: map[Direction]*series{}, swept: time.Now(),
	}
}

// Cell finds or makes the cell for l. It locks and hashes: resolve once, keep the pointer.
func (r *Registry) Cell(l Labels) *Cell {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if s := r.series[l]; s != nil {
		if c := s.load(); c != nil {
			s.cell, s.idleSince = c, now
			return c
		}
		delete(r.series, l)
	}
	r.sweepLocked(now)
	if len(r.series) < MaxSeries {
		s := r.newSeriesLocked(l, now)
		r.series[l] = s
		return s.cell
	}
	return r.foldLocked(l.Direction, now)
}

func (r *Registry) newSeriesLocked(l Labels, now time.Time) *series {
	r.lastID++
	return &series{id: r.lastID, labels: l, cell: new(Cell), idleSince: now}
}

// foldLocked is the cell of everything for which the table has no room.
func (r *Registry) foldLocked(d Direction, now time.Time) *Cell {
	r.dropped.Add(1)
	s := r.other[d]
	if s == nil {
		s = r.newSeriesLocked(otherLabels(d), now)
		r.other[d] = s
	}
	return s.cell
}

// sweepLocked retires what is idle, and deletes what nobody can record into.
func (r *Registry) sweepLocked(now time.Time) {
	if len(r.series) < sweepFrom || now.Sub(r.swept) < sweepEvery {
		return
	}
	r.swept = now
	full := len(r.series) >= MaxSeries
	for l, s := range r.series {
		known := full || !r.told || !s.idleSince.After(r.acked)
		if !s.keep(now, known) {
			delete(r.series, l)
		}
	}
}

// Told says that what is counted is reported to a viz. What it has not acknowledged is kept as long
// as there is room.
func (r *Registry) Told() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = true
}

// Acknowledged says that viz has all that was counted until then.
func (r *Registry) Acknowledged(until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if until.After(r.acked) {
		r.acked = until
	}
}

// keep brings s up to date and reports whether anybody can still record into it. When nothing was
// recorded for long, and others know all of it, nobody can but those who hold the cell.
func (s *series) keep(now time.Time, known bool) bool {
	c := s.load()
	if c == nil {
		return false
	}
	if a := c.activity(); a != s.seen || c.ConnectionsOpen.Load() > 0 {
		s.cell, s.seen, s.idleSince = c, a, now
		return true
	}
	if known && now.Sub(s.idleSince) >= RetireAfter {
		s.cell, s.retired = nil, weak.Make(c)
	}
	return true
}

// Exemplify says of which request that a cell has counted there is a trace. What has no series of
// its own has none.
func (r *Registry) Exemplify(l Labels, e Exemplar) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.series[l]; s != nil {
		if c := s.load(); c != nil {
			c.exemplar.Store(&e)
		}
	}
}

// Dropped is how often a cell was asked for and folded into "other", because the table was full.
func (r *Registry) Dropped() uint64 { return r.dropped.Load() }

// Each calls f for every series, by ascending id, with no lock held. An id is never given to other
// labels, nor to other counts of the same labels.
func (r *Registry) Each(f func(id uint32, l Labels, c *Cell)) {
	type row struct {
		series *series
		cell   *Cell
	}
	r.mu.Lock()
	rows := make([]row, 0, len(r.series)+len(r.other))
	for _, s := range r.series {
		if c := s.load(); c != nil {
			rows = append(rows, row{s, c})
		}
	}
	for _, s := range r.other {
		rows = append(rows, row{s, s.cell})
	}
	r.mu.Unlock()
	slices.SortFunc(rows, func(a, b row) int { return int(a.series.id) - int(b.series.id) })
	for _, w := range rows {
		f(w.series.id, w.series.labels, w.cell)
	}
}
