package viz

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

// Rows that are found by rank are those that are found by summing up all.
func TestRankedRowsAreTheSummedUp(t *testing.T) {
	for seed := range uint64(5) {
		m, _ := bruteMesh(t, rand.New(rand.NewPCG(seed, 3)))
		_, checkout := shop(m) // of whose edge both proxies tell
		m.pod("shop", "idler", "idler-1").report(outbound(1, checkout, "never"))
		m.now = m.now.Add(time.Second) // within a slot, as nearly always
		defer m.store.read(m.now)()
		for _, q := range []Query{{}, {Resource: "deploy"}, {Namespace: "ns1"}, {Resource: "ns"},
			{Resource: "deploy/w1", Namespace: "ns0"}, {Resource: "ns/ns2"}, {Resource: "sts"}} {
			w := spanOf(m.now, q)
			if !m.store.isRecentLocked(w) {
				t.Fatal("the last minute is not recent")
			}
			what, err := parseResource(q.Resource, q.Namespace)
			if err != nil {
				t.Fatal(err)
			}
			e := &edgeQuestion{what, m.now, m.now.Add(-edgeWindow)}
			level := slices.Index(edgeLevel[:], e.endKind())
			var ranked, summed Edges
			e.rankLocked(m.store, w, level, &ranked)
			e.sumLocked(m.store, w, &summed)
			slices.SortFunc(ranked.Rows, compareEdges)
			slices.SortFunc(summed.Rows, compareEdges)
			if !reflect.DeepEqual(ranked, summed) {
				t.Errorf("edges %+v: ranked %+v, summed up %+v", q, ranked, summed)
			}
			if len(summed.Rows) == 0 && q.Resource != "sts" {
				t.Errorf("edges %+v: there are none", q)
			}
		}
		checkTop(t, m)
	}
}

func checkTop(t *testing.T, m *mesh) {
	t.Helper()
	for _, q := range []Query{{}, {Resource: "deploy/w1", Namespace: "ns0"}, {Route: "pay"},
		{From: "deploy/w2"}, {Namespace: "ns1"}} {
		question, err := parseTop(q)
		if err != nil {
			t.Fatal(err)
		}
		question.reporting = map[string]bool{}
		for _, p := range m.store.processes {
			question.reporting[p.key.reporter.id] = p.workload.name != "w1"
		}
		var ranked, summed Top
		question.rankLocked(m.store, spanOf(m.now, q), &ranked)
		question.sumLocked(m.store, spanOf(m.now, q), &summed)
		slices.SortFunc(ranked.Rows, compareTop)
		slices.SortFunc(summed.Rows, compareTop)
		if !reflect.DeepEqual(ranked, summed) || len(summed.Rows) == 0 {
			t.Errorf("top %+v: ranked %+v, summed up %+v", q, ranked, summed)
		}
	}
}

// However many rows there are, the busiest are shown, and of equals the first.
func TestTheBusiestRows(t *testing.T) {
	r := &ranking{}
	for _, n := range []uint64{5, 9, 5, 1, 5, 7} {
		r.rows = append(r.rows, rank{requests: n, elapsed: 1})
	}
	for most, want := range map[int][]bool{
		3: {true, true, false, false, false, true},
		4: {true, true, true, false, false, true},
		6: {true, true, true, true, true, true},
	} {
		if got := r.busiest(most); !slices.Equal(got, want) {
			t.Errorf("the %d busiest are %v", most, got)
		}
	}
}
