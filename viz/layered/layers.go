package layered

import (
	"cmp"
	"slices"
)

// graph is a drawing's input by numbers: nodes in the order of their IDs.
type graph struct {
	nodes []Node
	index map[string]int
	edges [][2]int // without duplicates and loops, ordered
	next  [][]int  // by node
	prev  [][]int
}

func newGraph(nodes []Node, edges []Edge) *graph {
	g := &graph{nodes: slices.Clone(nodes), index: make(map[string]int, len(nodes))}
	slices.SortFunc(g.nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	g.nodes = slices.CompactFunc(g.nodes, func(a, b Node) bool { return a.ID == b.ID })
	for i, n := range g.nodes {
		g.index[n.ID] = i
	}
	for _, e := range edges {
		from, ok := g.index[e.From]
		to, there := g.index[e.To]
		if ok && there && from != to {
			g.edges = append(g.edges, [2]int{from, to})
		}
	}
	slices.SortFunc(g.edges, func(a, b [2]int) int {
		return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]))
	})
	g.edges = slices.Compact(g.edges)
	g.next, g.prev = make([][]int, len(g.nodes)), make([][]int, len(g.nodes))
	for _, e := range g.edges {
		g.next[e[0]] = append(g.next[e[0]], e[1])
		g.prev[e[1]] = append(g.prev[e[1]], e[0])
	}
	return g
}

func (g *graph) lonely(i int) bool { return len(g.next[i]) == 0 && len(g.prev[i]) == 0 }

// layers puts each node behind all that call it, but for calls that close a circle. Who is called
// by nobody stands right before the first that it calls.
func (g *graph) layers() []int {
	order, back := g.order()
	out := make([]int, len(g.nodes))
	for _, i := range order {
		for _, to := range g.next[i] {
			if !back[[2]int{i, to}] {
				out[to] = max(out[to], out[i]+1)
			}
		}
	}
	for i := range g.nodes {
		if len(g.prev[i]) > 0 || len(g.next[i]) == 0 {
			continue
		}
		first := out[g.next[i][0]]
		for _, to := range g.next[i] {
			first = min(first, out[to])
		}
		out[i] = first - 1
	}
	return out
}

// order lists the nodes so that every call goes to a later one, but for those that close a circle.
func (g *graph) order() (order []int, back map[[2]int]bool) {
	const (
		fresh = iota
		open
		done
	)
	state := make([]int, len(g.nodes))
	back = make(map[[2]int]bool)
	var visit func(int)
	visit = func(i int) {
		state[i] = open
		for _, to := range g.next[i] {
			switch state[to] {
			case fresh:
				visit(to)
			case open:
				back[[2]int{i, to}] = true
			}
		}
		state[i] = done
		order = append(order, i)
	}
	for _, i := range g.starts() {
		if state[i] == fresh {
			visit(i)
		}
	}
	slices.Reverse(order)
	return order, back
}

// starts are all nodes; those first that call more than they are called.
func (g *graph) starts() []int {
	out := make([]int, len(g.nodes))
	for i := range out {
		out[i] = i
	}
	rank := func(i int) int {
		if len(g.prev[i]) == 0 {
			return -len(g.nodes)
		}
		return len(g.prev[i]) - len(g.next[i])
	}
	slices.SortStableFunc(out, func(a, b int) int { return cmp.Compare(rank(a), rank(b)) })
	return out
}

// backwards is how many calls do not go to the right.
func (g *graph) backwards(layers []int) (n int) {
	for _, e := range g.edges {
		if layers[e[1]] <= layers[e[0]] {
			n++
		}
	}
	return n
}

// keptLayers leaves every node that has a place in its layer, and puts the others beside them.
func (g *graph) keptLayers(places map[string]place) []int {
	out, known := make([]int, len(g.nodes)), make([]bool, len(g.nodes))
	for i, n := range g.nodes {
		if p, ok := places[n.ID]; ok {
			out[i], known[i] = p.layer, true
		}
	}
	order, _ := g.order()
	for _, i := range order { // callers first
		for _, from := range g.prev[i] {
			if known[from] && (!known[i] || !g.placed(places, i) && out[i] <= out[from]) {
				out[i], known[i] = out[from]+1, true
			}
		}
	}
	slices.Reverse(order)
	for _, i := range order { // those that nobody known calls
		for _, to := range g.next[i] {
			if known[to] && !known[i] {
				out[i], known[i] = out[to]-1, true
			}
		}
	}
	return out
}

func (g *graph) placed(places map[string]place, i int) bool {
	_, ok := places[g.nodes[i].ID]
	return ok
}
