package layered

import (
	"cmp"
	"math"
	"slices"
)

// Distances in a layer. A line that passes takes no room between two nodes, so that it moves none.
const (
	nodeGap = 1.0
	lineGap = nodeGap / 2
	sweeps  = 8
	// grain is what rows are multiples of: almost straight looks crooked. Gaps are, too, so
	// rounding leaves them.
	grain = 0.25
)

// cell is what stands in a layer of a lane: a node, or a line on its way through.
type cell struct {
	node  int // -1: a line
	layer int
	row   float64
	fixed bool // it has been seen there
	id    string
	prev  []*cell // in the layer before, and the next
	next  []*cell
}

// lane is a group's part of the drawing.
type lane struct {
	group  string
	layers map[int][]*cell // from top to bottom
	cells  []*cell
}

func (l *lane) add(c *cell) *cell {
	l.cells = append(l.cells, c)
	l.layers[c.layer] = append(l.layers[c.layer], c)
	return c
}

func link(a, b *cell) { a.next, b.prev = append(a.next, b), append(b.prev, a) }

// join leads a line from a node to another one of the lane, through a cell in every layer between.
func (l *lane) join(from, to *cell, id string) (line []*cell) {
	for at := from; ; {
		if at.layer+1 >= to.layer {
			link(at, to)
			return line
		}
		c := l.add(&cell{node: -1, layer: at.layer + 1, id: id,
			row: from.row + (to.row-from.row)*float64(at.layer+1-from.layer)/
				float64(to.layer-from.layer)})
		link(at, c)
		line, at = append(line, c), c
	}
}

func (l *lane) numbers() []int {
	out := make([]int, 0, len(l.layers))
	for n := range l.layers {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}

func (l *lane) hasFixed() bool {
	return slices.ContainsFunc(l.cells, func(c *cell) bool { return c.fixed })
}

// arrange gives every cell a row.
func (l *lane) arrange() {
	numbers := l.numbers()
	for _, n := range numbers {
		slices.SortFunc(l.layers[n], func(a, b *cell) int {
			return cmp.Or(cmp.Compare(a.row, b.row), cmp.Compare(a.id, b.id))
		})
	}
	if l.hasFixed() {
		l.insert(numbers)
	} else {
		l.untangle(numbers)
	}
	for range 3 * sweeps {
		for _, n := range numbers {
			settle(l.layers[n])
		}
		slices.Reverse(numbers)
	}
	for _, c := range l.cells {
		c.row = math.Round(c.row/grain) * grain
	}
}

// insert puts what is new between what has its row.
func (l *lane) insert(numbers []int) {
	for range 2 {
		for _, n := range numbers {
			cells := l.layers[n]
			for _, c := range cells {
				if !c.fixed {
					c.row = c.middle(c.row)
				}
			}
			slices.SortStableFunc(cells, func(a, b *cell) int { return cmp.Compare(a.row, b.row) })
		}
	}
}

// untangle orders the layers so that lines cross seldom: each cell goes to the middle of those that
// it is joined with, in the layers before and behind in turn. The best order that came up stays.
func (l *lane) untangle(numbers []int) {
	best, least := l.orders(), math.MaxInt
	for i := range 2 * sweeps {
		forward := i%2 == 0
		for at := range numbers {
			n := numbers[at]
			if !forward {
				n = numbers[len(numbers)-1-at]
			}
			sortByMiddle(l.layers[n], forward)
		}
		if n := l.crossings(); n < least {
			least, best = n, l.orders()
		}
	}
	for n, cells := range best {
		l.layers[n] = cells
		number(cells)
	}
}

func sortByMiddle(cells []*cell, forward bool) {
	middles := make(map[*cell]float64, len(cells))
	for i, c := range cells {
		beside := c.next
		if forward {
			beside = c.prev
		}
		middles[c] = mean(beside, float64(i))
	}
	slices.SortStableFunc(cells, func(a, b *cell) int {
		return cmp.Compare(middles[a], middles[b])
	})
	number(cells)
}

func number(cells []*cell) {
	for i, c := range cells {
		c.row = float64(i)
	}
}

func (l *lane) orders() map[int][]*cell {
	out := make(map[int][]*cell, len(l.layers))
	for n, cells := range l.layers {
		out[n] = slices.Clone(cells)
		number(cells)
	}
	return out
}

// crossings counts pairs of lines between two layers whose ends are in opposite order.
func (l *lane) crossings() (n int) {
	for _, cells := range l.layers {
		var ends []float64
		for _, c := range cells {
			var mine []float64
			for _, to := range c.next {
				mine = append(mine, to.row)
			}
			slices.Sort(mine)
			for _, end := range mine {
				at, _ := slices.BinarySearch(ends, math.Nextafter(end, math.Inf(1)))
				n += len(ends) - at
			}
			for _, end := range mine {
				at, _ := slices.BinarySearch(ends, end)
				ends = slices.Insert(ends, at, end)
			}
		}
	}
	return n
}

func mean(of []*cell, otherwise float64) float64 {
	if len(of) == 0 {
		return otherwise
	}
	sum := 0.0
	for _, c := range of {
		sum += c.row
	}
	return sum / float64(len(of))
}

// middle is between all that a cell is joined with.
func (c *cell) middle(otherwise float64) float64 {
	n := len(c.prev) + len(c.next)
	if n == 0 {
		return otherwise
	}
	sum := mean(c.prev, 0)*float64(len(c.prev)) + mean(c.next, 0)*float64(len(c.next))
	return sum / float64(n)
}

// stay is how much more a cell that has been seen insists on its row.
const stay = 1e6

// settle moves a layer's cells as near as can be to the middles of what they are joined with,
// in their order and with room between them: an isotonic regression, by pooling neighbours that
// would overlap.
func settle(cells []*cell) {
	type pool struct{ sum, weight, count float64 }
	var pools []pool
	offset := make([]float64, len(cells))
	for i, c := range cells {
		if i > 0 {
			offset[i] = offset[i-1] + gap(cells[i-1], c)
		}
		want, weight := c.middle(c.row), 1.0
		if c.fixed {
			want, weight = c.row, stay
		}
		p := pool{(want - offset[i]) * weight, weight, 1}
		for len(pools) > 0 {
			last := pools[len(pools)-1]
			if last.sum/last.weight <= p.sum/p.weight {
				break
			}
			p = pool{last.sum + p.sum, last.weight + p.weight, last.count + p.count}
			pools = pools[:len(pools)-1]
		}
		pools = append(pools, p)
	}
	i := 0
	for _, p := range pools {
		for range int(p.count) {
			cells[i].row = p.sum/p.weight + offset[i]
			i++
		}
	}
}

func gap(a, b *cell) float64 {
	switch {
	case a.node >= 0 && b.node >= 0:
		return nodeGap
	case a.node >= 0 || b.node >= 0:
		return lineGap
	}
	return 0
}
