package viz

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The groupings of the graph beside GroupService.
const (
	GroupWorkload  = "workload"
	GroupNamespace = "namespace"
)

// Bounds of a graph: what can be looked at, and is drawn each second. Where there are more
// workloads, namespaces are one node each until one is opened.
const (
	maxGraphNodes  = 160
	maxGraphEdges  = 480
	maxGraphRoutes = 24 // of an edge
	// maxListNodes is how many may be asked for; more than maxGraphNodes get no places.
	maxListNodes = 2000
)

// outsideNode stands for all callers without a proxy: their addresses are without number.
var outsideNode = key{"", "outside", "without a proxy"}

// What opens none, and all.
const (
	noNamespace   = "-"
	allNamespaces = "*"
)

// graphKey is one edge.
type graphKey struct {
	from, to key
}

// graphQuestion is a checked Query for a graph, with what must be known of the mesh to answer it.
type graphQuestion struct {
	what   resource
	by     string
	filter Filter
	open   map[string]bool // nil: all namespaces are
	// IDs of live proxies: their requests are counted where they were sent
	reporting map[string]bool
	proxies   map[key]*proxiesOf // by node
	*servings
	behind map[key]map[string]struct{} // workloads of a node
	last   struct {
		of   *process
		node key
		ok   bool
	}
}

func parseGraph(q Query) (*graphQuestion, error) {
	what, err := parseResource(q.Resource, q.Namespace)
	if err != nil {
		return nil, err
	}
	filter, err := ParseFilter(q.Filter)
	if err != nil {
		return nil, fmt.Errorf("%w: filter: %w", errQuery, err)
	}
	out := &graphQuestion{
		what: what, by: q.Group, filter: filter, reporting: make(map[string]bool),
		proxies: make(map[key]*proxiesOf),
		behind:  make(map[key]map[string]struct{}),
	}
	switch q.Group {
	case "":
		out.by = GroupWorkload
	case GroupWorkload, GroupService, GroupNamespace:
	default:
		return nil, fmt.Errorf("%w: group is %q: use workload, service or namespace", errQuery,
			q.Group)
	}
	return out, nil
}

// graph answers /api/graph, but for the places, which a drawing has.
func (s *store) graph(now time.Time, q Query) (*Graph, *graphQuestion, error) {
	defer s.read(now)()
	out, question, err := s.graphLocked(now, q)
	// More are called than report: they are too many for all namespaces to be open after all.
	if err == nil && len(out.Nodes) > maxGraphNodes && q.Open == "" && question.open == nil &&
		question.what.any() && len(out.Namespaces) > 1 {
		q.Open = noNamespace
		out, question, err = s.graphLocked(now, q)
	}
	if err != nil {
		return nil, nil, err
	}
	out.cut(cmp.Or(q.Most, maxGraphNodes))
	return out, question, nil
}

// graphLocked is all of a graph. It needs the store's lock for reading.
func (s *store) graphLocked(now time.Time, q Query) (*Graph, *graphQuestion, error) {
	question, err := parseGraph(q)
	if err != nil {
		return nil, nil, err
	}
	w := spanOf(now, q)
	out := &Graph{Window: s.windowLocked(w), Namespaces: s.namespacesLocked(now)}
	question.choose(q, out.Namespaces)
	out.Proxies = question.learnLocked(s, now)
	edges, nodes := collectLocked(s, w, question.edge), collectLocked(s, w, question.node)
	edges.routesLocked(s, w)
	out.Total = edges.sum().figures()
	question.fill(out, edges, nodes)
	return out, question, nil
}

// namespacesLocked are those with live proxies. It needs the store's lock for reading.
func (s *store) namespacesLocked(now time.Time) []GraphNamespace {
	workloads := make(map[string]map[key]struct{})
	for _, p := range s.processes {
		k, ok := p.workload.of("")
		if !ok || !p.live(now) {
			continue
		}
		if workloads[k.namespace] == nil {
			workloads[k.namespace] = make(map[key]struct{})
		}
		workloads[k.namespace][k] = struct{}{}
	}
	out := make([]GraphNamespace, 0, len(workloads))
	for ns, all := range workloads {
		out = append(out, GraphNamespace{Name: ns, Workloads: len(all)})
	}
	slices.SortFunc(out, func(a, b GraphNamespace) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// choose says which namespaces are shown whole.
func (q *graphQuestion) choose(asked Query, all []GraphNamespace) {
	workloads := 0
	for _, ns := range all {
		workloads += ns.Workloads
	}
	few := workloads <= maxGraphNodes || len(all) == 1 || !q.what.any()
	switch {
	case asked.Open == allNamespaces && q.by != GroupNamespace:
	case q.by == GroupNamespace || asked.Open == noNamespace || asked.Open == "" && !few:
		q.open = map[string]bool{}
	case asked.Open != "":
		q.open = make(map[string]bool)
		for ns := range strings.SplitSeq(asked.Open, ",") {
			q.open[ns] = true
		}
	}
	for i := range all {
		all[i].Open = q.opened(all[i].Name)
	}
}

func (q *graphQuestion) opened(namespace string) bool { return q.open == nil || q.open[namespace] }

// learnLocked notes who reports, and which services workloads are behind. It needs the store's
// lock for reading.
func (q *graphQuestion) learnLocked(s *store, now time.Time) (reporting int) {
	q.servings = s.servingsLocked()
	pods := make(map[reporter]struct{})
	for _, p := range s.processes {
		k, ok := p.workload.of("")
		if !ok {
			continue
		}
		at := q.fold(q.served(k))
		if q.proxies[at] == nil {
			q.proxies[at] = newProxiesOf()
		}
		if !p.live(now) {
			continue
		}
		q.reporting[p.key.reporter.id] = true
		pods[p.key.reporter] = struct{}{}
		q.proxies[at].add(p, now)
		if at != k {
			q.note(at, k.name)
		}
	}
	return len(pods)
}

func (q *graphQuestion) note(at key, workload string) {
	if q.behind[at] == nil {
		q.behind[at] = make(map[string]struct{})
	}
	q.behind[at][workload] = struct{}{}
}

// servings are the workloads of which all callers say the same service, and the services that are
// one workload. They never change.
type servings struct {
	made    uint64 // the store's, when they were found out
	serves  map[key]key
	servers map[key]key
}

// servingsLocked are those of the wholes that there are now. They are found out once for all who
// ask until there are others.
func (s *store) servingsLocked() *servings {
	if known := s.served.Load(); known != nil && known.made == s.made {
		return known
	}
	out := &servings{s.made, make(map[key]key), make(map[key]key)}
	several := make(map[key]bool)
	note := func(to map[key]key, k, v key) {
		if was, known := to[k]; known && was != v {
			several[k] = true
		}
		to[k] = v
	}
	for _, one := range s.level.all {
		if one == nil {
			continue
		}
		l := one.labels
		k, ok := l.peer.of("")
		if !ok || l.inbound() || l.service == "" {
			continue
		}
		service := key{l.namespace, "service", l.service}
		note(out.serves, k, service)
		note(out.servers, service, k)
	}
	for k := range several {
		delete(out.serves, k)
		delete(out.servers, k)
	}
	s.served.Store(out)
	return out
}

// served is the service that a workload is, where the graph shows services.
func (q *graphQuestion) served(k key) key {
	if q.by != GroupService {
		return k
	}
	if service, ok := q.serves[k]; ok {
		return service
	}
	return k
}

// fold is the node of something: itself, or its namespace's.
func (q *graphQuestion) fold(k key) key {
	if k.namespace == "" || q.opened(k.namespace) {
		return k
	}
	return key{k.namespace, "namespace", k.namespace}
}

// own is the node of a process: as often as not the one that was asked for last.
func (q *graphQuestion) own(p *process) (key, bool) {
	if p != q.last.of {
		k, ok := p.workload.of("")
		q.last.of, q.last.node, q.last.ok = p, q.fold(q.served(k)), ok
	}
	return q.last.node, q.last.ok
}

// from is who sends a series' requests.
func (q *graphQuestion) from(s *series) (key, bool) {
	if !s.labels.inbound() {
		return q.own(s.process)
	}
	k := s.caller()
	if k.kind == "address" {
		k = outsideNode
	}
	return q.fold(k), true
}

// to is who gets them.
func (q *graphQuestion) to(s *series) (key, bool) {
	l := s.labels
	if l.inbound() {
		return q.own(s.process)
	}
	k, ok := l.peer.of("")
	if q.by == GroupService && l.service != "" || !ok {
		k = s.target()
	}
	if k.kind == "service" && q.by != GroupService {
		if only, known := q.servers[k]; known {
			k = only // it reached no endpoint, and there is no doubt whose it would have been
		}
	}
	return q.fold(q.served(k)), k.name != ""
}

// counts says whether a series counts at all: what meshed callers send is counted at their side.
func (q *graphQuestion) counts(s *series) bool {
	return !s.labels.inbound() || !q.reporting[s.labels.peerID]
}

// edge places a series in its edge.
func (q *graphQuestion) edge(s *series) (graphKey, bool) {
	if !q.counts(s) {
		return graphKey{}, false
	}
	from, ok := q.from(s)
	to, there := q.to(s)
	k := graphKey{from, to}
	return k, ok && there && (q.what.any() || q.what.has(from) || q.what.has(to))
}

// routesLocked notes which routes are in each group.
func (c *collection[K]) routesLocked(s *store, w span) {
	for i, one := range s.seriesLocked(w) {
		g := c.of[i]
		if g == nil || len(g.routes) >= maxGraphRoutes {
			continue
		}
		if route := routeName(one.labels); !slices.Contains(g.routes, route) {
			g.routes = append(g.routes, route)
		}
	}
}

// node places a series in the node that answers it. A workload's own proxies see every caller;
// what has none is measured by its callers, and so are services.
func (q *graphQuestion) node(s *series) (key, bool) {
	k, ok := q.to(s)
	if k.kind == "service" {
		return k, ok && q.counts(s)
	}
	return k, ok && s.labels.inbound() == (q.proxies[k] != nil)
}

// fill makes the rows of an answer.
func (q *graphQuestion) fill(out *Graph, edges *collection[graphKey], nodes *collection[key]) {
	shown := make(map[key]bool)
	out.Edges = make([]GraphEdge, 0, len(edges.groups))
	for k, g := range edges.groups {
		if g.window == (counters{}) && g.open == 0 && len(g.standing.ejected) == 0 {
			continue
		}
		shown[k.from], shown[k.to] = true, true
		if k.from != k.to { // else both are in one namespace's node
			out.Edges = append(out.Edges, q.edgeRow(k, g))
		}
	}
	for k, own := range q.proxies {
		if len(own.pods) > 0 && (q.what.any() || q.what.has(k)) {
			shown[k] = true
		}
	}
	out.Nodes = make([]GraphNode, 0, len(shown))
	for k := range shown {
		out.Nodes = append(out.Nodes, q.nodeRow(k, nodes.group(k)))
	}
}

// id names a node.
func (k key) id() string { return k.kind + "/" + k.namespace + "/" + k.name }

func (q *graphQuestion) edgeRow(k graphKey, g *group) GraphEdge {
	return GraphEdge{From: k.from.id(), To: k.to.id(),
		Routes:    slices.Sorted(slices.Values(g.routes)),
		Encrypted: g.encrypted(), Security: g.name(), Reason: g.reason, ClientID: g.client,
		ServerID: g.server, GraphFigures: g.graphFigures()}
}

func (q *graphQuestion) nodeRow(k key, g *group) GraphNode {
	row := GraphNode{ID: k.id(), Kind: k.kind, Namespace: k.namespace, Name: k.name,
		GraphFigures: g.graphFigures()}
	if behind := q.behind[k]; behind != nil {
		row.Workloads = slices.Sorted(maps.Keys(behind))
	}
	if service, ok := q.serves[k]; ok {
		row.Service = service.id()
	}
	if own := q.proxies[k]; own != nil {
		row.Proxies = len(own.pods)
		if !own.expiry.IsZero() {
			expiry := own.expiry.UTC()
			row.CertificateExpiry = &expiry
		}
	}
	return row
}

func (g *group) graphFigures() GraphFigures {
	f := g.figures()
	return GraphFigures{
		RPS: f.RPS, SuccessRate: f.SuccessRate, ActualSuccessRate: f.ActualSuccessRate,
		P50Ms: f.P50Ms, P95Ms: f.P95Ms, P99Ms: f.P99Ms, Requests: f.Requests,
		Failures: f.Failures, WindowRequests: f.WindowRequests, WindowFailures: f.WindowFailures,
		Retries: f.WindowRetries, RetriesRefused: g.window[retriesRefused],
		Timeouts: f.WindowTimeouts, Faulted: f.WindowFaulted, Limited: f.WindowLimited,
		BytesPerSecond: f.ReadBytesPerSecond + f.WrittenBytesPerSecond,
		Connections:    f.Connections, Ejected: f.Ejected, Endpoints: f.Endpoints,
	}
}

// troubled says whether an edge is to be seen even among many.
func (e *GraphEdge) troubled() bool {
	return !e.Encrypted || e.SuccessRate != nil && *e.SuccessRate < 0.95
}

// cut leaves the busiest, by what they have had in all: that changes slowly, so that a graph
// which is too large shows the same today and in a minute.
func (g *Graph) cut(most int) {
	slices.SortFunc(g.Nodes, func(a, b GraphNode) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.ID, b.ID))
	})
	if n := len(g.Nodes) - most; n > 0 {
		g.HiddenNodes, g.Nodes = n, g.Nodes[:most]
	}
	kept := make(map[string]bool, len(g.Nodes))
	for _, n := range g.Nodes {
		kept[n.ID] = true
	}
	before := len(g.Edges)
	g.Edges = slices.DeleteFunc(g.Edges, func(e GraphEdge) bool {
		return !kept[e.From] || !kept[e.To]
	})
	slices.SortFunc(g.Edges, func(a, b GraphEdge) int {
		if a.troubled() != b.troubled() {
			if a.troubled() {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), cmp.Compare(a.From, b.From),
			cmp.Compare(a.To, b.To))
	})
	g.Edges = g.Edges[:min(len(g.Edges), maxGraphEdges)]
	g.HiddenEdges = before - len(g.Edges)
}

// sift leaves the edges that a filter matches by one of their routes, and their nodes.
func (q *graphQuestion) sift(g *Graph) {
	if len(q.filter.terms) == 0 {
		return
	}
	nodes, kept := make(map[string]*GraphNode, len(g.Nodes)), make(map[string]bool)
	for i := range g.Nodes {
		nodes[g.Nodes[i].ID] = &g.Nodes[i]
	}
	g.Edges = slices.DeleteFunc(g.Edges, func(e GraphEdge) bool {
		if !q.matches(&e, nodes[e.From], nodes[e.To]) {
			return true
		}
		kept[e.From], kept[e.To] = true, true
		return false
	})
	g.Nodes = slices.DeleteFunc(g.Nodes, func(n GraphNode) bool { return !kept[n.ID] })
}

func (q *graphQuestion) matches(e *GraphEdge, from, to *GraphNode) bool {
	row := TopRow{From: from.Name, FromNamespace: from.Namespace, To: to.Name,
		ToNamespace: to.Namespace, Security: e.Security}
	row.RPS, row.SuccessRate = e.RPS, e.SuccessRate
	row.P50Ms, row.P95Ms, row.P99Ms = e.P50Ms, e.P95Ms, e.P99Ms
	row.RetryRate = ratio(e.Retries, e.WindowRequests)
	row.WindowTimeouts, row.WindowFaulted, row.WindowLimited = e.Timeouts, e.Faulted, e.Limited
	row.Ejected = e.Ejected
	return slices.ContainsFunc(e.Routes, func(route string) bool {
		row.Route = route
		return q.filter.Matches(&row)
	})
}
