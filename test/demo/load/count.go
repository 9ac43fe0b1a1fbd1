package load

import (
	"maps"
	"sync"
	"time"
)

// Counts is what came of a number of requests.
type Counts struct {
	Requests int         `json:"requests"`
	OK       int         `json:"ok"` // status below 500; the rest failed
	Statuses map[int]int `json:"statuses"`
	// Errors are requests without any answer, by what went wrong.
	Errors map[string]int `json:"errors"`
	// Versions says which version answered how often, where one said so.
	Versions map[string]int `json:"versions"`
	// LastStart is when the last request began that a version answered.
	LastStart map[string]time.Time `json:"lastStart"`
	MinMs     float64              `json:"minMs"`
	MaxMs     float64              `json:"maxMs"`
	// ElapsedMs is from the first request's begin to the last one's end.
	ElapsedMs float64 `json:"elapsedMs"`
}

// Failed is what the caller would call errors.
func (c *Counts) Failed() int { return c.Requests - c.OK }

// maxErrors bounds how many different errors are told apart.
const maxErrors = 20

// tally is Counts that many workers add to.
type tally struct {
	mu     sync.Mutex
	counts Counts
	first  time.Time
}

func newTally() *tally {
	return &tally{counts: Counts{Statuses: map[int]int{}, Errors: map[string]int{},
		Versions: map[string]int{}, LastStart: map[string]time.Time{}}}
}

// outcome is one finished request.
type outcome struct {
	start, end time.Time
	status     int // 0: no answer, for the reason err
	err        error
	version    string
}

func (t *tally) add(o outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &t.counts
	c.Requests++
	ms := float64(o.end.Sub(o.start)) / float64(time.Millisecond)
	if c.Requests == 1 || ms < c.MinMs {
		c.MinMs = ms
	}
	c.MaxMs = max(c.MaxMs, ms)
	if t.first.IsZero() || o.start.Before(t.first) {
		t.first = o.start
	}
	c.ElapsedMs = max(c.ElapsedMs, float64(o.end.Sub(t.first))/float64(time.Millisecond))
	t.answer(o)
}

func (t *tally) answer(o outcome) {
	c := &t.counts
	if o.err != nil {
		text := o.err.Error()
		if _, known := c.Errors[text]; !known && len(c.Errors) >= maxErrors {
			text = "other"
		}
		c.Errors[text]++
		return
	}
	c.Statuses[o.status]++
	if o.status < 500 {
		c.OK++
	}
	if o.version == "" {
		return
	}
	c.Versions[o.version]++
	if o.start.After(c.LastStart[o.version]) {
		c.LastStart[o.version] = o.start
	}
}

// snapshot is a copy that nobody changes any more.
func (t *tally) snapshot() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counts
	c.Statuses, c.Errors = maps.Clone(c.Statuses), maps.Clone(c.Errors)
	c.Versions, c.LastStart = maps.Clone(c.Versions), maps.Clone(c.LastStart)
	return c
}
