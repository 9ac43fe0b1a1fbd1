package record

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/viz/api"
)

// watched is a Records with these taps, and the hook that they ask for.
func watched(taps ...*api.Tap) (*Records, *outcome.Hook) {
	r := NewRecords(RecordsOptions{Changed: func() {}})
	r.follow(&api.RecordsResponse{Taps: taps})
	h := &outcome.Hook{}
	r.Join(h, func(o *outcome.Record) bool { return o.Latency > time.Minute })
	return r, h
}

// shown takes what is in the queue.
func shown(r *Records) (out []wanted) {
	for len(r.queue) > 0 {
		out = append(out, <-r.queue)
	}
	return out
}

func tapOf(id, perSecond uint32) *api.Tap {
	return &api.Tap{Id: id, RecordsPerSecond: perSecond, BytesPerSecond: 1 << 20,
		Filter: &api.TapFilter{}}
}

// fineOut is a request that went well, to another pod of the mesh.
func fineOut() *outcome.Record {
	r := request()
	r.Failed, r.Reason = false, outcome.Plain
	return r
}

// However many there are, a second shows so many, and what it shows of what went out is what the
// other proxy was told of.
func TestATapKeepsToItsBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h := watched(tapOf(1, 10))
		const seconds, each = 5, 200
		hopping := 0
		for range seconds {
			for range each {
				o := fineOut()
				h.Pick(o)
				if o.Hop != 0 {
					hopping++
				}
				h.Live(o)
				time.Sleep(time.Second / each)
			}
		}
		all := shown(r)
		if n := len(all); n < 10*seconds || n > 10*(seconds+1) || n != hopping {
			t.Errorf("%d are shown and %d carry a hop, of %d in %d s", n, hopping, each*seconds,
				seconds)
		}
		for _, w := range all {
			if w.Hop == 0 {
				t.Error("what is shown has no other half")
				break
			}
		}
		c := (*r.taps.Load())[0].count()
		if c.Matched != each*seconds || c.Shown != uint64(len(all)) {
			t.Errorf("it has counted %v", c)
		}
	})
}

// Bytes are a bound of their own.
func TestATapKeepsToItsBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tap := tapOf(1, 1000)
		tap.BytesPerSecond = 4 << 10
		r, h := watched(tap)
		for range 500 {
			h.Live(received())
		}
		if n := len(shown(r)); n == 0 || n > 4<<10/fixedSize {
			t.Errorf("%d are shown", n)
		}
	})
}

// Where a request's end decides, what carries a hop is a guess, and all that matches is shown.
func TestATapOfWhatOnlyTheEndTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tap := tapOf(1, 10)
		tap.Filter.Failed = true
		r, h := watched(tap)
		for range 30 {
			o := fineOut()
			h.Pick(o)
			h.Live(o)
		}
		for range 5 {
			o := request()
			h.Pick(o)
			if h.Live(o); o.Hop != 0 {
				t.Error("there was no room for a hop")
			}
		}
		if n := len(shown(r)); n != 5 {
			t.Errorf("%d are shown, want 5", n)
		}
	})
}

// The callee's proxy shows what the caller's has chosen, whatever taps of its own say, and leaves
// the rest to it.
func TestTheCalleeShowsWhatTheCallerHasChosen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		both := tapOf(1, 10)
		both.CallersToo = true
		for name, tt := range map[string]struct {
			tap        *api.Tap
			hop, other int // how many are shown
		}{
			"hops only":         {&api.Tap{Id: 1, HopsOnly: true}, 1, 0},
			"with the callers'": {both, 1, 0},
			"alone":             {tapOf(1, 10), 1, 1},
		} {
			r, h := watched(tt.tap)
			if !h.Joined {
				t.Errorf("%s: it asks for nothing", name)
			}
			o := received()
			o.Hop = 7
			h.Live(o)
			if n := len(shown(r)); n != tt.hop {
				t.Errorf("%s: %d are shown that carry a hop", name, n)
			}
			h.Live(received())
			if n := len(shown(r)); n != tt.other {
				t.Errorf("%s: %d are shown that carry none", name, n)
			}
		}
	})
}

// Without a tap viz hears of what is sampled, and of a few each second of what is worth it or does
// not go well, and of nothing more.
func TestWhatIsKeptWithoutATap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, h := watched()
		if h.All || h.Joined || h.Pick != nil || !h.Idle() {
			t.Errorf("the hook asks for more than it may: %+v", h)
		}
		traced := func(held bool) *outcome.Record {
			o := fineOut()
			o.Trace = &outcome.Trace{Held: held}
			return o
		}
		worth := traced(true)
		worth.Latency = time.Hour
		var sampled, held, unwell int
		for range 2 * sampledPerSecond {
			h.Live(fineOut())
			h.Live(traced(true)) // and not worth it
			h.Live(worth)
			h.Live(traced(false))
			h.Live(request())
			for _, w := range shown(r) {
				switch {
				case w.Reason != outcome.Plain:
					unwell++
				case w.Record == worth:
					held++
				case w.Trace != nil && !w.Trace.Held:
					sampled++
				default:
					t.Fatalf("shown: %+v", w)
				}
				if w.taps != nil {
					t.Error("it is said to be for a tap")
				}
			}
		}
		if sampled != sampledPerSecond || held != keptPerSecond || unwell != keptPerSecond {
			t.Errorf("%d, %d and %d are kept, want %d and %d each", sampled, held, unwell,
				sampledPerSecond, keptPerSecond)
		}
	})
}

// Viz repeats which taps there are whenever one begins or ends: the others go on counting.
func TestATapGoesOnBesideOthers(t *testing.T) {
	r, _ := watched(tapOf(1, 10))
	r.take(received(), nil)
	r.follow(&api.RecordsResponse{Taps: []*api.Tap{tapOf(2, 10), tapOf(1, 10)}})
	r.take(received(), nil)
	for _, tap := range *r.taps.Load() {
		if c, want := tap.count(), uint64(3-tap.id); c.Matched != want {
			t.Errorf("tap %d: %v, want %d", tap.id, c, want)
		}
	}
	if r.follow(&api.RecordsResponse{}); len(*r.taps.Load()) != 0 {
		t.Error("a tap has no end")
	}
}

// What there is no room for is dropped and counted, and nobody waits.
func TestAFullQueueDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tap := tapOf(1, maxShown)
		tap.BytesPerSecond = maxShownBytes
		r, h := watched(tap)
		for range recordsQueue + 7 {
			h.Live(received())
		}
		if n := r.dropped.Load(); n != 7 {
			t.Errorf("%d are dropped, want 7", n)
		}
	})
}

// Viz asks so much at once, and what it has asked on a stream that has ended is not answered on the
// next.
func TestQuestionsEndWithTheirStream(t *testing.T) {
	r := NewRecords(RecordsOptions{Changed: func() {}})
	m := &api.RecordsResponse{}
	for i := range uint32(2 * api.MaxQuestions) {
		m.Endpoints = append(m.Endpoints, &api.EndpointsQuestion{Id: i + 1})
	}
	if r.follow(m); len(r.asked) != api.MaxQuestions {
		t.Errorf("%d questions wait", len(r.asked))
	}
	if q := <-r.asked; q.Id != 1 {
		t.Errorf("the first is %d", q.Id)
	}
	if r.unask(); len(r.asked) != 0 {
		t.Errorf("%d questions wait for another stream", len(r.asked))
	}
}
