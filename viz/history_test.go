package viz

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/viz/api"
)

func TestSamplesSurvivePacking(t *testing.T) {
	for _, s := range []sample{
		{},
		{counters: counters{requests: 1}},
		{counters: counters{requests: 300, failures: 1 << 40, latencySum: 7},
			buckets: []bucket{{0, 1}, {metric.Buckets - 1, 1 << 50}}},
		{buckets: []bucket{{5, 1}, {6, 2}, {200, 3}}},
	} {
		var got sample
		got.parse(s.append(nil))
		if got.counters != s.counters || len(got.buckets) != len(s.buckets) ||
			len(s.buckets) > 0 && !reflect.DeepEqual(got.buckets, s.buckets) {
			t.Errorf("%+v became %+v", s, got)
		}
	}
}

func TestHistoryIsAnHourLong(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	for i := range uint64(2 * 720) {
		m.now = m.now.Add(slotLength)
		web.report(inbound(1, i, 0, ""))
	}
	h := &m.store.history
	if len(h.closed) != 720 {
		t.Errorf("%d slots are kept", len(h.closed))
	}
	size := 0
	for _, s := range h.closed {
		size += s.size()
	}
	if h.size != size {
		t.Errorf("size is %d, should be %d", h.size, size)
	}
	if row := m.one(Query{Resource: "deploy", Window: time.Hour}); row.RPS != 0.2 {
		t.Errorf("over the hour %v rps", row.RPS)
	}
}

func TestHistoryBudgetShortensTheHour(t *testing.T) {
	h := &history{}
	now := time.Unix(1_800_000_000, 0)
	for i := range int64(2) {
		h.push(&slot{number: slotNumber(now) + i,
			wholes: log{data: make([]byte, HistoryBudget*2/3)}})
	}
	h.turn(now.Add(2 * slotLength))
	if len(h.closed) != 1 || h.size > HistoryBudget {
		t.Errorf("%d slots of %d bytes are kept", len(h.closed), h.size)
	}
}

// A clock that is set back shifts what is known, and stops nothing.
func TestClockSetBack(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	requests := uint64(0)
	minute := func() {
		for range time.Minute / slotLength {
			m.now = m.now.Add(slotLength)
			requests += 50
			web.report(inbound(1, requests, 0, ""))
		}
		if row := m.one(Query{Resource: "deploy"}); row.Requests != requests || row.RPS != 10 {
			t.Errorf("row is %+v", row)
		}
	}
	minute()
	for _, back := range []time.Duration{time.Second, time.Minute, time.Hour, 100 * time.Hour} {
		m.now, web.started = m.now.Add(-back), web.started.Add(-back)
		minute()
		minute()
	}
	slots := m.store.history.closed
	for i := range slots[1:] {
		if slots[i].number >= slots[i+1].number {
			t.Fatalf("slot %d is of %d, the next of %d", i, slots[i].number, slots[i+1].number)
		}
	}
	if row := m.one(Query{Resource: "deploy", Window: 5 * time.Minute}); row.RPS != 10 {
		t.Errorf("over five minutes %v rps", row.RPS)
	}
}

// A clock that is set forward makes no rate that never was, and what comes after it is shown as
// before.
func TestClockSetForward(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	requests := uint64(0)
	step := func() {
		m.now = m.now.Add(time.Second)
		requests += 10
		web.report(inbound(1, requests, 0, ""))
		if row := m.one(Query{Resource: "deploy"}); row.Requests != requests || row.RPS > 10.001 ||
			row.RPS < 9.999 {
			t.Fatalf("after %d requests the row is %+v", requests, row)
		}
	}
	for _, forward := range []time.Duration{0, time.Second, time.Minute, time.Hour,
		100 * time.Hour} {
		m.now, web.started = m.now.Add(forward), web.started.Add(forward)
		for range 90 {
			step()
		}
	}
	m.now = m.now.Add(-time.Hour) // and back
	web.started = web.started.Add(-time.Hour)
	for range 90 {
		step()
	}
}

// What is summed up beforehand is what the slots have, whenever and of whatever is asked.
func TestRecentIsWhatTheSlotsSay(t *testing.T) {
	m := newMesh(t)
	rng := rand.New(rand.NewPCG(1, 2))
	var pods []*pod
	counts := map[*pod]*api.Series{}
	for i := range 6 {
		p := m.pod("shop", fmt.Sprint("web", i%2), fmt.Sprintf("web%d-%d", i%2, i))
		pods = append(pods, p)
		s := inbound(1, 0, 0, "")
		for b := range metric.Buckets {
			s.Bucket = append(s.Bucket, uint32(b))
		}
		s.BucketCount = make([]uint64, metric.Buckets)
		counts[p] = s
	}
	for range 2000 {
		m.now = m.now.Add(time.Duration(rng.IntN(4000)) * time.Millisecond)
		if rng.IntN(200) == 0 {
			m.now = m.now.Add(time.Duration(rng.IntN(100)-50) * time.Second)
		}
		p := pods[rng.IntN(len(pods))]
		s := counts[p]
		unsettle(t, rng, p, s)
		n := uint64(rng.IntN(20))
		s.Requests += n
		s.BucketCount[rng.IntN(metric.Buckets)] += n
		if err := p.try(s); err != nil {
			p.restart(fmt.Sprint(m.now.UnixNano())) // the clock was set back
			continue
		}
		done := m.store.read(m.now)
		w := spanOf(m.now, Query{Resource: "deploy"})
		recent := make([]*group, len(m.store.level.all))
		slow := make([]*group, len(recent))
		for i, whole := range m.store.level.all {
			if whole != nil {
				recent[i], slow[i] = &group{}, &group{}
			}
		}
		if m.store.isRecentLocked(w) {
			m.store.fillRecentLocked(recent)
			m.store.fillSlotsLocked(w, slow)
			m.store.fillOpenLocked(w, slow)
		}
		done()
		for i := range recent {
			if recent[i] == nil {
				continue
			}
			if recent[i].window != slow[i].window ||
				!slices.Equal(recent[i].latency.counts(), slow[i].latency.counts()) {
				t.Fatalf("at %v whole %d did %v, and the slots say %v", m.now, i, recent[i].window,
					slow[i].window)
			}
			if n := m.store.level.briefs[i].requests; m.store.isRecentLocked(w) &&
				n != recent[i].window[requests] {
				t.Fatalf("at %v whole %d is said to have had %d requests", m.now, i, n)
			}
		}
		checkLately(t, m, w)
	}
}

// unsettle has a proxy forget a series now and then, or learn whose it is.
func unsettle(t *testing.T, rng *rand.Rand, p *pod, s *api.Series) {
	t.Helper()
	switch rng.IntN(40) {
	case 0:
		m := p.message()
		m.Ended = []uint32{s.Id}
		r, err := checkReport(p.stream.who, m)
		if err != nil {
			t.Fatal(err)
		}
		if p.mesh.store.apply(p.mesh.now, p.stream, r) == nil {
			s.Id++
			s.Requests = 0
			clear(s.BucketCount)
		}
	case 1:
		name, _, _ := strings.Cut(p.who.pod, "-")
		if p.who.kind == "deployment" {
			p.who.kind, p.who.name = "pod", p.who.pod
		} else {
			p.who.kind, p.who.name = "deployment", name
		}
	}
}

// checkLately: what a process told of lately is what the slots say.
func checkLately(t *testing.T, m *mesh, w span) {
	t.Helper()
	if !m.store.history.isRecent(w) {
		return
	}
	told := map[*process]time.Duration{}
	for _, sl := range m.store.history.closed {
		for _, x := range sl.covered {
			if w.has(sl.number) {
				told[x.process] += x.time
			}
		}
	}
	for p, d := range m.store.history.open.covered {
		told[p] += d
	}
	for _, p := range m.store.processes {
		if p.lately != told[p] {
			t.Fatalf("at %v %v told of %v, and the slots say %v", m.now, p.key, p.lately, told[p])
		}
	}
}

func TestMergeBuckets(t *testing.T) {
	a := []bucket{{1, 1}, {5, 5}}
	got := mergeBuckets(a, []bucket{{0, 1}, {5, 1}, {9, 9}})
	if want := []bucket{{0, 1}, {1, 1}, {5, 6}, {9, 9}}; !reflect.DeepEqual(got, want) {
		t.Errorf("merged %v, want %v", got, want)
	}
	got = mergeBuckets(got, []bucket{{1, 2}, {9, 1}})
	if want := []bucket{{0, 1}, {1, 3}, {5, 6}, {9, 10}}; !reflect.DeepEqual(got, want) {
		t.Errorf("merged %v, want %v", got, want)
	}
}

func BenchmarkStat(b *testing.B) {
	s, now := newStore(views), time.Unix(1_800_000_000, 0)
	m := &mesh{nil, s, now}
	var pods []*pod
	for i := range 200 {
		pods = append(pods,
			m.pod("shop", "web", "web-"+string(rune('a'+i%26))+string(rune('a'+i/26))))
	}
	for step := range uint64(24) {
		m.now = m.now.Add(slotLength)
		for _, p := range pods {
			r, err := checkReport(p.stream.who, p.message(inbound(1, step*100, step, ""),
				inbound(2, step*90, step, "spiffe://cluster.local/ns/a/sa/b")))
			if err != nil {
				b.Fatal(err)
			}
			if err := s.apply(m.now, p.stream, r); err != nil {
				b.Fatal(err)
			}
		}
	}
	for b.Loop() {
		if _, err := s.stat(m.now, Query{Resource: "deploy"}); err != nil {
			b.Fatal(err)
		}
	}
}
