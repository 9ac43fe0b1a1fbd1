package viz

import (
	"slices"
	"time"
)

// ranking puts wholes into rows by their marks, and finds the rows that are busiest in the last
// minute before anything else is summed up: of tens of thousands a few are shown.
type ranking struct {
	w       span
	times   *times
	level   *table
	numbers map[uint64]int32 // of rows, by mark
	rows    []rank
	of      []int32 // by the whole's number: its row's from 1 on; 0: it is in none
}

// rank is a row.
type rank struct {
	requests uint64
	elapsed  time.Duration
	first    int // the number of a whole that is in it
	idle     bool
}

// newRanking is for a window that is recent. It needs the store's lock for reading.
func newRanking(s *store, w span) *ranking {
	return &ranking{w: w, times: s.timesLocked(w), level: &s.level,
		numbers: make(map[uint64]int32, len(s.level.all)/2), of: make([]int32, len(s.level.all))}
}

// add puts the whole of a number into the row of a mark. Rows of which all wholes are idle are not
// shown.
func (r *ranking) add(i int, mark uint64, idle bool) {
	n, known := r.numbers[mark]
	if !known {
		n = int32(len(r.rows))
		r.numbers[mark] = n
		r.rows = append(r.rows, rank{first: i, idle: true})
	}
	r.of[i] = n + 1
	row := &r.rows[n]
	row.idle = row.idle && idle
	row.requests += r.level.briefs[i].requests
	row.elapsed = max(row.elapsed, r.times.elapsed(r.level.all[i].process))
}

// collectLocked sums up the busiest rows, at most so many, by their numbers.
func (r *ranking) collectLocked(s *store, most int) *collection[int32] {
	shown := r.busiest(most)
	c := &collection[int32]{groups: make(map[int32]*group, most),
		of: make([]*group, len(r.of)), times: r.times}
	for i, n := range r.of {
		if n > 0 && shown[n-1] {
			c.put(r.w, i, r.level.all[i], n-1)
		}
	}
	s.standLocked(r.w, c.of)
	s.fillRecentLocked(c.of)
	return c
}

// busiest says of each row whether it is one of those with the most requests a second, and of
// equals those that were there before.
func (r *ranking) busiest(most int) []bool {
	shown := make([]bool, len(r.rows))
	rates := make([]float64, len(r.rows))
	for i := range r.rows {
		rates[i] = r.rows[i].rps()
		shown[i] = rates[i] >= 0
	}
	if len(rates) <= most {
		return shown
	}
	sorted := slices.Clone(rates)
	slices.Sort(sorted)
	least := sorted[len(sorted)-most]
	room := most
	for _, rate := range sorted[len(sorted)-most:] {
		if rate > least {
			room--
		}
	}
	for i, rate := range rates {
		shown[i] = rate > least
		if rate == least && rate >= 0 && room > 0 {
			shown[i] = true
			room--
		}
	}
	return shown
}

// rps is below 0 where the row is idle.
func (r *rank) rps() float64 {
	switch {
	case r.idle:
		return -1
	case r.elapsed <= 0:
		return 0
	}
	return float64(r.requests) / r.elapsed.Seconds()
}
