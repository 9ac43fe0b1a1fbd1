package layered

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func nodes(group string, ids ...string) (out []Node) {
	for _, id := range ids {
		out = append(out, Node{id, group})
	}
	return out
}

func edges(pairs ...string) (out []Edge) {
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, Edge{pairs[i], pairs[i+1]})
	}
	return out
}

func shop() ([]Node, []Edge) {
	return nodes("shop", "load", "web", "checkout", "inventory", "payments-v1", "payments-v2",
			"delivery"),
		edges("load", "web", "web", "checkout", "checkout", "inventory", "checkout",
			"payments-v1", "checkout", "payments-v2", "checkout", "delivery")
}

func TestCallsRunToTheRight(t *testing.T) {
	d := new(Memory).Draw(shop())
	for column, ids := range [][]string{{"load"}, {"web"}, {"checkout"},
		{"inventory", "payments-v1", "payments-v2", "delivery"}} {
		for _, id := range ids {
			if d.Nodes[id].X-d.Nodes["load"].X != float64(column) {
				t.Errorf("%s is in column %v, want %d", id, d.Nodes[id].X, column)
			}
		}
	}
	if d.Nodes["web"].Y != d.Nodes["checkout"].Y {
		t.Errorf("a lone call is not straight: %v, %v", d.Nodes["web"], d.Nodes["checkout"])
	}
	if len(d.Lanes) != 1 || d.Lanes[0].Group != "shop" {
		t.Errorf("lanes are %+v", d.Lanes)
	}
}

// random is a graph of n nodes in some groups; calls go from lower numbers to higher ones unless
// circles are wanted.
func random(r *rand.Rand, n, calls, groups int, circles bool) ([]Node, []Edge) {
	var ns []Node
	for i := range n {
		ns = append(ns, Node{fmt.Sprintf("n%03d", i), fmt.Sprintf("g%d", r.IntN(groups))})
	}
	var es []Edge
	for range calls {
		a, b := r.IntN(n), r.IntN(n)
		if !circles && a > b {
			a, b = b, a
		}
		es = append(es, Edge{ns[a].ID, ns[b].ID})
	}
	return ns, es
}

// checkDrawing holds what every drawing has.
func checkDrawing(t *testing.T, ns []Node, d *Drawing) {
	t.Helper()
	byColumn := map[float64][]float64{}
	for _, n := range ns {
		p, ok := d.Nodes[n.ID]
		if !ok || math.IsNaN(p.X) || math.IsNaN(p.Y) || math.IsInf(p.Y, 0) {
			t.Fatalf("%s is at %v", n.ID, p)
		}
		byColumn[p.X] = append(byColumn[p.X], p.Y)
	}
	for column, rows := range byColumn {
		slices.Sort(rows)
		for i := 1; i < len(rows); i++ {
			if rows[i]-rows[i-1] < nodeGap-1e-6 {
				t.Fatalf("two nodes overlap in column %v, at %v and %v", column, rows[i-1], rows[i])
			}
		}
	}
	for i := 1; i < len(d.Lanes); i++ {
		if d.Lanes[i].Top <= d.Lanes[i-1].Bottom {
			t.Fatalf("lanes overlap: %+v", d.Lanes)
		}
	}
	for _, n := range ns {
		for _, l := range d.Lanes {
			p := d.Nodes[n.ID]
			inside := p.Y >= l.Top && p.Y <= l.Bottom && p.X >= l.Left && p.X <= l.Right
			if n.Group == l.Group && !inside {
				t.Fatalf("%s at %v is not in its lane %+v", n.ID, p, l)
			}
		}
	}
}

func TestRandomGraphs(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		n := 2 + r.IntN(60)
		circles := seed%2 == 0
		ns, es := random(r, n, r.IntN(3*n), 1+r.IntN(4), circles)
		d := new(Memory).Draw(ns, es)
		checkDrawing(t, ns, d)
		for _, e := range es {
			if !circles && e.From != e.To && d.Nodes[e.To].X <= d.Nodes[e.From].X {
				t.Fatalf("seed %d: %v runs backwards without need", seed, e)
			}
		}
		r.Shuffle(len(ns), func(i, j int) { ns[i], ns[j] = ns[j], ns[i] })
		r.Shuffle(len(es), func(i, j int) { es[i], es[j] = es[j], es[i] })
		if again := new(Memory).Draw(ns, es); !maps.Equal(d.Nodes, again.Nodes) {
			t.Fatalf("seed %d: the order of the input matters", seed)
		}
	}
}

// near leaves out what is less than a picture shows.
func near(a, b Point) bool { return math.Abs(a.X-b.X) < 1e-3 && math.Abs(a.Y-b.Y) < 1e-3 }

// An edge that comes, or goes, moves nothing.
func TestEdgesMoveNothing(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		n := 4 + r.IntN(40)
		ns, es := random(r, n, 2*n, 1+r.IntN(3), false)
		var m Memory
		before := m.Draw(ns, es)
		called := map[string]int{}
		for _, e := range es {
			if e.From != e.To {
				called[e.From]++
				called[e.To]++
			}
		}
		// What has no line left stands below its lane, and what had none gets a place.
		free := func(e Edge) bool { return called[e.From] > 2 && called[e.To] > 2 }
		gone := slices.IndexFunc(es, free)
		if gone < 0 {
			continue
		}
		last := slices.IndexFunc(es, func(e Edge) bool { return e.From != e.To && e != es[gone] })
		came := Edge{es[last].To, es[gone].From}
		for what, more := range map[string][]Edge{"came": append(slices.Clone(es), came),
			"went": slices.Delete(slices.Clone(es), gone, gone+1)} {
			d := m.Draw(ns, more)
			checkDrawing(t, ns, d)
			for id, p := range before.Nodes {
				if !near(p, d.Nodes[id]) {
					t.Fatalf("seed %d: an edge %s, and %s moved from %v to %v", seed, what, id, p,
						d.Nodes[id])
				}
			}
			m.Draw(ns, es)
		}
	}
}

// A node that comes finds its column, and moves none of the others out of theirs; what went and
// comes again is where it was.
func TestNodesComeAndGo(t *testing.T) {
	ns, es := shop()
	var m Memory
	before := m.Draw(ns, es)
	more := append(slices.Clone(ns), Node{"search", "shop"})
	d := m.Draw(more, append(slices.Clone(es), Edge{"checkout", "search"}))
	if d.Nodes["search"].X != before.Nodes["delivery"].X {
		t.Errorf("search is at %v", d.Nodes["search"])
	}
	for id, p := range before.Nodes {
		if d.Nodes[id].X != p.X {
			t.Errorf("%s moved from %v to %v", id, p, d.Nodes[id])
		}
	}
	checkDrawing(t, more, d)
	var few []Edge
	for _, e := range es {
		if e.To != "inventory" {
			few = append(few, e)
		}
	}
	m = Memory{}
	before = m.Draw(ns, es)
	m.Draw(slices.DeleteFunc(slices.Clone(ns), func(n Node) bool {
		return n.ID == "inventory"
	}), few)
	if again := m.Draw(ns, es); !near(again.Nodes["inventory"], before.Nodes["inventory"]) {
		t.Errorf("inventory was at %v, and came again at %v", before.Nodes["inventory"],
			again.Nodes["inventory"])
	}
}

// What is reported first, one by one, must not spoil the picture for good.
func TestAPictureThatGrowsIsDrawnAnewWhereItMust(t *testing.T) {
	ns, es := shop()
	var m Memory
	m.Draw(ns, nil)
	m.Draw(ns, edges("checkout", "web", "payments-v1", "checkout", "payments-v2", "checkout",
		"delivery", "checkout", "inventory", "checkout"))
	d := m.Draw(ns, es)
	for _, e := range es {
		if d.Nodes[e.To].X <= d.Nodes[e.From].X {
			t.Errorf("%v runs backwards", e)
		}
	}
}

// A line that passes a column does not pass through its nodes.
func TestLongLinesPassNodesBy(t *testing.T) {
	ns := nodes("g", "a", "b", "c", "d")
	d := new(Memory).Draw(ns, edges("a", "b", "b", "c", "c", "d", "a", "d"))
	bends := d.Bends[Edge{"a", "d"}]
	if len(bends) != 2 {
		t.Fatalf("the line bends at %v", bends)
	}
	for i, id := range []string{"b", "c"} {
		if bends[i].X != d.Nodes[id].X || math.Abs(bends[i].Y-d.Nodes[id].Y) < lineGap-1e-6 {
			t.Errorf("the line passes %s, at %v, at %v", id, d.Nodes[id], bends[i])
		}
	}
}

func TestLargeGraphsAreDrawnSoon(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 3))
	ns, es := random(r, 160, 480, 8, true)
	var m Memory
	m.Draw(ns, es)
	begin := time.Now()
	const times = 20
	for range times {
		m.Draw(ns, es)
	}
	// It is a tenth of this; the race detector and a busy machine may take their part.
	if took := time.Since(begin) / times; took > 200*time.Millisecond {
		t.Errorf("a known graph takes %s", took)
	}
}
