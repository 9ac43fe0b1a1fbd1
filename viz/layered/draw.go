package layered

import (
	"cmp"
	"math"
	"slices"
)

// Node is to be given a place. Nodes of one group stand together; "" is no group.
type Node struct {
	ID    string
	Group string
}

// Edge is a call, drawn as a line.
type Edge struct {
	From, To string
}

// Point is a place: in columns to the right, and rows down.
type Point struct {
	X, Y float64
}

// Lane is where a group's nodes are: from the row of its first to that of its last.
type Lane struct {
	Group string
	// Left and Right are the columns of its outermost nodes.
	Left, Right float64
	Top, Bottom float64
}

// Drawing is where everything is.
type Drawing struct {
	Nodes map[string]Point
	// Bends are what lines lead through that pass other nodes; most have none.
	Bends map[Edge][]Point
	Lanes []Lane // of groups, from top to bottom
}

// laneGap is the free space between two groups, for their names.
const laneGap = 0.9

// maxPlaces bounds what is remembered of nodes that are gone.
const maxPlaces = 4096

// place is where a node was seen, in its group's lane.
type place struct {
	group string
	layer int
	row   float64
}

// Memory is what was drawn before. Its zero value remembers nothing. It is for one caller at a
// time.
type Memory struct {
	places map[string]place
	lanes  []string
	size   int // nodes and calls when all was last laid out
}

// Draw finds places. The same input on the same memory gives the same drawing.
func (m *Memory) Draw(nodes []Node, edges []Edge) *Drawing {
	g := newGraph(nodes, edges)
	layers := m.layers(g)
	d := &drawer{graph: g, layers: layers, lanes: make(map[string]*lane),
		cells: make([]*cell, len(g.nodes)), bends: make(map[[2]int][]*cell)}
	d.fill(m.places)
	for _, l := range d.lanes {
		l.arrange()
	}
	d.scatter()
	out := d.stack(m.order(d))
	m.remember(d)
	return out
}

// tolerated is how many more calls may run backwards than would if everything moved: moving
// everything is worse.
func tolerated(edges int) int { return max(1, edges/20) }

// layers are those remembered, unless they fit badly.
func (m *Memory) layers(g *graph) []int {
	fresh := g.layers()
	size := len(g.nodes) + len(g.edges)
	if len(m.places) == 0 || size > m.size*4/3 { // what was seen was only the beginning
		*m = Memory{size: size}
		return fresh
	}
	kept := g.keptLayers(m.places)
	if g.backwards(kept)-g.backwards(fresh) > tolerated(len(g.edges)) {
		*m = Memory{size: size}
		return fresh
	}
	return kept
}

// drawer is one drawing in the making.
type drawer struct {
	*graph
	layers []int
	lanes  map[string]*lane
	cells  []*cell // by node; nil: it has no lines
	loners map[string][]int
	bends  map[[2]int][]*cell
}

// groupOf is a node's lane: its group's, or that of all its neighbours, if they have one.
func (d *drawer) groupOf(i int) string {
	if d.nodes[i].Group != "" {
		return d.nodes[i].Group
	}
	group := ""
	for _, beside := range [][]int{d.prev[i], d.next[i]} {
		for _, j := range beside {
			if group != "" && d.nodes[j].Group != group {
				return ""
			}
			group = d.nodes[j].Group
		}
	}
	return group
}

func (d *drawer) lane(group string) *lane {
	l := d.lanes[group]
	if l == nil {
		l = &lane{group: group, layers: make(map[int][]*cell)}
		d.lanes[group] = l
	}
	return l
}

// fill makes the cells of nodes and of lines. Lines between lanes are drawn straight.
func (d *drawer) fill(places map[string]place) {
	d.loners = make(map[string][]int)
	groups := make([]string, len(d.nodes))
	for i, n := range d.nodes {
		groups[i] = d.groupOf(i)
		l := d.lane(groups[i])
		if d.lonely(i) {
			d.loners[groups[i]] = append(d.loners[groups[i]], i)
			continue
		}
		c := &cell{node: i, layer: d.layers[i], id: n.ID, row: float64(len(l.layers[d.layers[i]]))}
		if p, ok := places[n.ID]; ok && p.group == groups[i] && p.layer == c.layer {
			c.row, c.fixed = p.row, true
		}
		d.cells[i] = l.add(c)
	}
	for _, e := range d.edges {
		from, to := d.cells[e[0]], d.cells[e[1]]
		if groups[e[0]] == groups[e[1]] && from.layer < to.layer {
			d.bends[e] = d.lane(groups[e[0]]).join(from, to, d.nodes[e[0]].ID+">"+d.nodes[e[1]].ID)
		}
	}
}

// scatter fills rows below a lane's lines with the nodes that have none.
func (d *drawer) scatter() {
	const columns = 5 // at least
	for group, loners := range d.loners {
		l := d.lanes[group]
		first, last, bottom := math.MaxInt, math.MinInt, math.Inf(-1)
		for _, c := range l.cells {
			if c.node >= 0 {
				first, last = min(first, c.layer), max(last, c.layer)
				bottom = max(bottom, c.row)
			}
		}
		if len(l.cells) == 0 {
			first, last, bottom = 0, 0, -nodeGap
		}
		width := max(columns, last-first+1)
		for n, i := range loners {
			d.cells[i] = l.add(&cell{node: i, layer: first + n%width,
				row: math.Ceil(bottom) + nodeGap + float64(n/width)})
		}
	}
}

// order is that of the lanes: as before, new ones behind by how far to the left they begin.
func (m *Memory) order(d *drawer) []string {
	var out, added []string
	for _, group := range m.lanes {
		if d.lanes[group] != nil {
			out = append(out, group)
		}
	}
	for group := range d.lanes {
		if !slices.Contains(out, group) {
			added = append(added, group)
		}
	}
	slices.SortFunc(added, func(a, b string) int {
		return cmp.Or(cmp.Compare(d.lanes[a].depth(), d.lanes[b].depth()), cmp.Compare(a, b))
	})
	return append(out, added...)
}

// depth is a lane's mean layer.
func (l *lane) depth() float64 {
	sum := 0
	for _, c := range l.cells {
		sum += c.layer
	}
	return float64(sum) / float64(max(len(l.cells), 1))
}

// stack puts the lanes below each other.
func (d *drawer) stack(order []string) *Drawing {
	out := &Drawing{Nodes: make(map[string]Point, len(d.nodes)), Bends: make(map[Edge][]Point)}
	top := 0.0
	for _, group := range order {
		l := d.lanes[group]
		lowest, highest := math.Inf(1), math.Inf(-1)
		for _, c := range l.cells {
			if c.node >= 0 { // a line that passes moves nothing
				lowest, highest = min(lowest, c.row), max(highest, c.row)
			}
		}
		shift := top - lowest
		if len(order) == 1 {
			shift = 0 // what comes above the first node must not move it
		}
		box := Lane{Group: group, Left: math.Inf(1), Right: math.Inf(-1),
			Top: math.Inf(1), Bottom: math.Inf(-1)}
		for _, c := range l.cells {
			c.row += shift
			if c.node >= 0 {
				out.Nodes[d.nodes[c.node].ID] = c.point()
				box.hold(c, d.nodes[c.node].Group == group)
			}
		}
		for _, c := range l.cells { // what is remembered is without the shift
			c.row -= shift
		}
		d.draw(out, l, shift)
		if group != "" {
			out.Lanes = append(out.Lanes, box)
		}
		top += highest - lowest + nodeGap + laneGap
	}
	return out
}

func (c *cell) point() Point { return Point{float64(c.layer), c.row} }

func (l *Lane) hold(c *cell, member bool) {
	if !member {
		return
	}
	l.Left, l.Right = min(l.Left, float64(c.layer)), max(l.Right, float64(c.layer))
	l.Top, l.Bottom = min(l.Top, c.row), max(l.Bottom, c.row)
}

// draw adds the bends of a lane's lines.
func (d *drawer) draw(out *Drawing, l *lane, shift float64) {
	for e, line := range d.bends {
		if len(line) == 0 || d.groupOf(e[0]) != l.group {
			continue
		}
		points := make([]Point, len(line))
		for i, c := range line {
			points[i] = Point{float64(c.layer), c.row + shift}
		}
		out.Bends[Edge{d.nodes[e[0]].ID, d.nodes[e[1]].ID}] = points
	}
}

// remember keeps the places of what has lines: where else a node stood says nothing.
func (m *Memory) remember(d *drawer) {
	if m.places == nil || len(m.places) > maxPlaces {
		m.places = make(map[string]place)
	}
	for group, l := range d.lanes {
		for _, c := range l.cells {
			if c.node < 0 {
				continue
			}
			id := d.nodes[c.node].ID
			if d.lonely(c.node) {
				delete(m.places, id)
				continue
			}
			m.places[id] = place{group, c.layer, c.row}
		}
	}
	m.lanes = m.order(d)
}
