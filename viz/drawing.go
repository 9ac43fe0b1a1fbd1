package viz

import (
	"strings"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/viz/layered"
)

// maxDrawings is how many views of the graph are remembered: by grouping, and by which namespaces
// are open.
const maxDrawings = 32

// drawings remember where the nodes of a graph are, so that all who look see it alike, and it stays
// as it is while edges come and go.
type drawings struct {
	mu     sync.Mutex // guards the rest
	seen   map[string]*layered.Memory
	recent []string // names in seen, the last one used at the end
}

// graph answers /api/graph.
func (v *Server) graph(now time.Time, q Query) (*Graph, error) {
	g, question, err := v.store.graph(now, q)
	if err != nil {
		return nil, err
	}
	if len(g.Nodes) > maxGraphNodes {
		g.Lanes = []GraphLane{} // it is for a list
		question.sift(g)
		return g, nil
	}
	v.drawings.place(g, strings.Join([]string{question.by, q.Open, q.Namespace, q.Resource}, "|"))
	question.sift(g)
	return g, nil
}

func (d *drawings) place(g *Graph, view string) {
	nodes := make([]layered.Node, len(g.Nodes))
	for i, n := range g.Nodes {
		nodes[i] = layered.Node{ID: n.ID, Group: n.Namespace}
		if n.Kind == GroupNamespace {
			nodes[i].Group = ""
		}
	}
	edges := make([]layered.Edge, len(g.Edges))
	for i, e := range g.Edges {
		edges[i] = layered.Edge{From: e.From, To: e.To}
	}
	d.mu.Lock()
	drawn := d.memoryLocked(view).Draw(nodes, edges)
	d.mu.Unlock()
	for i := range g.Nodes {
		at := drawn.Nodes[g.Nodes[i].ID]
		g.Nodes[i].X, g.Nodes[i].Y = at.X, at.Y
	}
	for i, e := range edges {
		for _, at := range drawn.Bends[e] {
			g.Edges[i].Bends = append(g.Edges[i].Bends, [2]float64{at.X, at.Y})
		}
	}
	g.Lanes = make([]GraphLane, 0, len(drawn.Lanes))
	for _, l := range drawn.Lanes {
		g.Lanes = append(g.Lanes, GraphLane{Namespace: l.Group, Left: l.Left, Top: l.Top,
			Right: l.Right, Bottom: l.Bottom})
	}
}

func (d *drawings) memoryLocked(view string) *layered.Memory {
	if d.seen == nil {
		d.seen = make(map[string]*layered.Memory)
	}
	m := d.seen[view]
	if m == nil {
		m = &layered.Memory{}
		d.seen[view] = m
	}
	for i, name := range d.recent {
		if name == view {
			d.recent = append(d.recent[:i], d.recent[i+1:]...)
			break
		}
	}
	if d.recent = append(d.recent, view); len(d.recent) > maxDrawings {
		delete(d.seen, d.recent[0])
		d.recent = d.recent[1:]
	}
	return m
}
