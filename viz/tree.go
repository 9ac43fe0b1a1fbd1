package viz

import (
	"cmp"
	"slices"
	"time"

	spans "github.com/tulle-mesh/tulle/proxy/span"
	"github.com/tulle-mesh/tulle/proxy/trace"
)

// tree is a trace put together from what the proxies on both sides of its requests told. Halves may
// be missing, and come in any order.
type tree struct {
	roots []*node
	nodes []*node
	begin time.Time
	end   time.Time
}

// node is a span in its place.
type node struct {
	spans.Span
	from     *recorded
	children []*node
	placed   bool
	inferred bool          // its parent is the application's own span, which nobody told us of
	shift    time.Duration // what its pod's clock is corrected by, to fit into its parent
	depth    int
}

// newTree puts records together. Whatever proxies say, each span has one place.
func newTree(records []recorded) *tree {
	t := &tree{}
	known := map[trace.SpanID]*node{}
	for i := range records {
		r := &records[i]
		for _, s := range spans.Of(r.outcome()) {
			if known[s.ID] != nil || s.ID == (trace.SpanID{}) {
				continue
			}
			n := &node{Span: s, from: r}
			if n.End.Before(n.Begin) {
				n.End = n.Begin
			}
			known[s.ID] = n
			t.nodes = append(t.nodes, n)
		}
	}
	slices.SortStableFunc(t.nodes, byBegin)
	for _, n := range t.nodes {
		parent := known[n.Parent]
		if parent == nil && n.Parent != (trace.SpanID{}) && !n.Server {
			parent = t.application(n)
			n.inferred = parent != nil
		}
		if parent != nil && parent != n {
			parent.children = append(parent.children, n)
			continue
		}
		t.roots = append(t.roots, n)
	}
	t.place()
	return t
}

func byBegin(a, b *node) int {
	return cmp.Or(a.Begin.Compare(b.Begin), b.End.Compare(a.End))
}

// application is the request that the same pod served when it sent this one, the latest: between
// the two there are spans of the application's, which it exports to somewhere else.
func (t *tree) application(n *node) (out *node) {
	for _, s := range t.nodes {
		if s.Server && s.from.who == n.from.who && !n.Begin.Before(s.Begin) &&
			!n.Begin.After(s.End) {
			out = s
		}
	}
	return out
}

// place walks down from the roots, and corrects clocks. Spans that go round in a circle have no
// root: the first of them becomes one.
func (t *tree) place() {
	for _, root := range t.roots {
		t.placeBelow(root, nil, 0)
	}
	for _, n := range t.nodes {
		if !n.placed {
			t.roots = append(t.roots, n)
			t.placeBelow(n, nil, 0)
		}
	}
	slices.SortStableFunc(t.roots, byBegin)
}

func (t *tree) placeBelow(n, parent *node, shift time.Duration) {
	n.placed = true
	if parent != nil {
		n.depth = parent.depth + 1
		if n.from.who != parent.from.who {
			shift = n.skew(parent)
		}
	}
	n.shift = shift
	n.Begin, n.End = n.Begin.Add(shift), n.End.Add(shift)
	if t.begin.IsZero() || n.Begin.Before(t.begin) {
		t.begin = n.Begin
	}
	if n.End.After(t.end) {
		t.end = n.End
	}
	n.children = slices.DeleteFunc(n.children, func(c *node) bool { return c.placed })
	for _, c := range n.children {
		t.placeBelow(c, n, shift)
	}
	slices.SortStableFunc(n.children, byBegin)
}

// skew is by how much a span of another pod's must be moved so that it can have happened because of
// its parent: it begins after that has, and ends before that has its answer. If clocks differ by
// more than a moment, nobody knows where within its parent it was: it is put into the middle, as if
// both ways took as long.
func (n *node) skew(parent *node) time.Duration {
	early, late := parent.Begin.Sub(n.Begin), n.End.Sub(parent.End)
	if !parent.Answered() && !n.Begin.After(parent.End) {
		late = 0 // it went on alone
	}
	room := parent.End.Sub(parent.Begin) - n.End.Sub(n.Begin)
	switch {
	case early <= 0 && late <= 0:
		return 0
	case room < 0:
		return early
	case max(early, late) >= leastShift:
		return early + room/2
	case early > 0:
		return early
	}
	return -late
}

// walk calls f with each span, parents before their children, in the order of their beginnings.
func (t *tree) walk(f func(*node)) {
	var down func(n *node)
	down = func(n *node) {
		f(n)
		for _, c := range n.children {
			down(c)
		}
	}
	for _, root := range t.roots {
		down(root)
	}
}

// first is the root that a trace is called after, the one that begins first; nil: there is no span.
func (t *tree) first() *node {
	if len(t.roots) == 0 {
		return nil
	}
	return t.roots[0]
}

// failed reports whether the one who asked first got an error, and how many spans are errors.
func (t *tree) failed() (failed bool, errors int) {
	for _, n := range t.nodes {
		if n.Bad() {
			errors++
		}
	}
	return slices.ContainsFunc(t.roots, func(n *node) bool { return n.Bad() }), errors
}
