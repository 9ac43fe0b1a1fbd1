package viz

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/viz/api"
)

// Bounds of taps.
const (
	maxTaps = 16 // at a time, of all askers
	// tapQueue is how many requests may wait for an asker. Those beyond it are dropped.
	tapQueue = 512
)

// hub is where those who ask to see requests meet the proxies that show them.
type hub struct {
	halves halves

	mu      sync.Mutex // guards what follows
	next    uint32     // the ID of the last tap or survey
	version uint64     // of the taps
	taps    map[uint32]*tap
	surveys map[uint32]*survey
	streams map[reporter]*watched
}

func newHub() *hub {
	h := &hub{taps: map[uint32]*tap{}, surveys: map[uint32]*survey{},
		streams: map[reporter]*watched{}}
	h.halves.deliver = h.deliver
	return h
}

// tap is one asker's wish to see requests.
type tap struct {
	*tapPlan
	id  uint32
	out chan *TapRecord

	mu     sync.Mutex // guards what follows
	counts TapCounts
}

// TapCounts are what a tap has counted so far.
type TapCounts struct {
	// Matched requests there were, as far as proxies know, of which so many were shown.
	Matched uint64 `json:"tulle.tap.matched"`
	Shown   uint64 `json:"tulle.tap.shown"`
	// Dropped are those within the budget for which there was no room on their way.
	Dropped uint64 `json:"tulle.tap.dropped"`
	Proxies int    `json:"tulle.tap.proxies"` // that look
	// Ended is why the tap ends, if its asker did not ask for that.
	Ended string `json:"tulle.tap.ended,omitempty"`
}

// begin begins a tap, which its asker must end.
func (h *hub) begin(p *tapPlan) (*tap, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.taps) >= maxTaps {
		return nil, fmt.Errorf("%d taps are open already: end one, and try again", maxTaps)
	}
	h.next++
	t := &tap{tapPlan: p, id: h.next, out: make(chan *TapRecord, tapQueue)}
	h.taps[t.id] = t
	h.changedLocked()
	return t, nil
}

func (h *hub) end(t *tap) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.taps, t.id)
	h.changedLocked()
}

// changedLocked has every proxy hear which taps there are.
func (h *hub) changedLocked() {
	h.version++
	for _, one := range h.streams {
		serve.Wake(one.ctx)
	}
}

// proxies is how many show requests.
func (h *hub) proxies() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.streams)
}

var errNewer = errors.New("the same pod's proxy shows requests over a newer stream")

// enter takes a proxy's stream in.
func (h *hub) enter(one *watched, most int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.streams[one.who]
	if old == nil && len(h.streams) >= most {
		return status.Errorf(codes.ResourceExhausted,
			"viz hears %d proxies already: that is its limit", most)
	}
	if old != nil {
		old.end(errNewer)
	}
	h.streams[one.who] = one
	return nil
}

func (h *hub) leave(one *watched) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.streams[one.who] == one {
		delete(h.streams, one.who)
	}
}

func (h *hub) endAll(why error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, one := range h.streams {
		one.end(why)
	}
}

// introduce says whose proxy a stream is of.
func (h *hub) introduce(one *watched, w workload) {
	h.mu.Lock()
	defer h.mu.Unlock()
	one.workload = w
}

// news is which taps there are, and what else is asked of one proxy; nil: it knows.
func (h *hub) news(one *watched) *api.RecordsResponse {
	h.mu.Lock()
	defer h.mu.Unlock()
	if one.told == h.version+1 && len(one.asked) == 0 { // 0: it knows nothing
		return nil
	}
	one.told = h.version + 1
	m := &api.RecordsResponse{Endpoints: one.asked}
	one.asked = nil
	for _, t := range h.taps {
		m.Taps = append(m.Taps, t.ask(t.id, one.who.id, one.workload))
	}
	for id := range one.counts {
		if h.taps[id] == nil {
			delete(one.counts, id)
		}
	}
	return m
}

// count takes what a proxy's taps have counted, and what it had no room for.
func (h *hub) count(one *watched, counts []*api.TapCount, lost uint64) {
	if len(counts) == 0 && lost == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.taps {
		t.add(TapCounts{Dropped: lost})
	}
	for _, c := range counts {
		t := h.taps[c.GetId()]
		if t == nil {
			continue
		}
		before := min(one.counts[t.id], c.Matched)
		one.counts[t.id] = c.Matched
		t.add(TapCounts{Matched: min(c.Matched-before, maxCounter)})
	}
}

func (t *tap) add(c TapCounts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Matched += c.Matched
	t.counts.Shown += c.Shown
	t.counts.Dropped += c.Dropped
}

// soFar is what the tap has counted. Each that is shown was one that matched, whoever noticed.
func (t *tap) soFar(proxies int) TapCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.counts
	c.Matched, c.Proxies = max(c.Matched, c.Shown+c.Dropped), proxies
	return c
}

// take shows a request to those who have asked for it, once both halves are here, or it is clear
// that there is but one.
func (h *hub) take(now time.Time, one *watched, m *api.Record) {
	if len(m.Taps) == 0 && m.Hop == 0 {
		return
	}
	h.mu.Lock()
	none, w := len(h.taps) == 0, one.workload
	h.mu.Unlock()
	if none {
		return
	}
	half := &half{TapRecord: tapRecord(one.who, w, m), taps: m.Taps}
	if m.Hop == 0 || !half.paired() {
		h.deliver(half.TapRecord, half.taps)
		return
	}
	h.halves.take(now, m.Hop, half)
}

// deliver gives a request to those who have asked for it.
func (h *hub) deliver(r *TapRecord, taps []uint32) {
	h.mu.Lock()
	var to []*tap
	for _, id := range slices.Compact(slices.Sorted(slices.Values(taps))) {
		if t := h.taps[id]; t != nil {
			to = append(to, t)
		}
	}
	h.mu.Unlock()
	for _, t := range to {
		if t.shows(r) {
			t.offer(r)
		}
	}
}

// offer puts a request into the tap's queue, if there is room.
func (t *tap) offer(r *TapRecord) {
	select {
	case t.out <- r:
	default:
		t.add(TapCounts{Dropped: 1})
	}
}

// follow calls each for what a tap shows, and for what it has counted whenever nothing comes for a
// while, until the context ends, the tap's time is over, or each fails. The last are the counts.
func (h *hub) follow(ctx context.Context, t *tap, each func(any) error) error {
	over := time.NewTimer(t.lasts())
	defer over.Stop()
	counts := time.NewTicker(countsEvery)
	defer counts.Stop()
	tell := func() error { return each(t.soFar(h.proxies())) }
	for err := tell(); err == nil; {
		select {
		case r := <-t.out:
			t.add(TapCounts{Shown: 1})
			if err = each(r); err == nil && t.Limit > 0 && t.soFar(0).Shown >= t.Limit {
				return tell()
			}
		case <-counts.C:
			err = tell()
		case <-over.C:
			return tell()
		case <-t.over():
			last := t.soFar(h.proxies())
			last.Ended = sessionEnded
			return each(last)
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// sessionEnded is why a tap ends that is not permitted any more.
const sessionEnded = "its TapSession has ended"

// countsEvery is how often an asker hears what a tap has counted: that someone is there, too.
const countsEvery = time.Second

func (t *tap) lasts() time.Duration {
	if t.Duration > 0 {
		return t.Duration
	}
	return MaxTapDuration
}
