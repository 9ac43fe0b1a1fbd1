package viz

import (
	"reflect"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
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
	big := &slot{number: slotNumber(now), data: make([]byte, HistoryBudget*2/3)}
	h.push(big)
	h.push(&slot{number: slotNumber(now) + 1, data: make([]byte, HistoryBudget*2/3)})
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
	s, now := newStore(), time.Unix(1_800_000_000, 0)
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
