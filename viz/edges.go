package viz

import (
	"cmp"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/viz/api"
)

// maxEdgeRows bounds an answer: more are for nobody to read, and slow to write. The busiest stay.
const maxEdgeRows = 2000

// edgeKey is one row of edges: two ends, what each proved, and how the connection is protected.
type edgeKey struct {
	src, dst           key
	clientID, serverID string
	security           api.Security
	inbound            bool // the server's proxy told of it
	reason             string
}

// join is where the two proxies' accounts of one edge meet: the client's knows the workload behind
// the address, the server's only whose certificate came.
type join struct {
	dst                key
	clientID, serverID string
}

func (k *edgeKey) join() join { return join{k.dst, k.clientID, k.serverID} }

// edgeQuestion is a checked Query for edges.
type edgeQuestion struct {
	what  resource
	now   time.Time
	since time.Time // series that have not changed since then are over
}

// edges answers /api/edges.
func (s *store) edges(now time.Time, q Query) (*Edges, error) {
	what, err := parseResource(q.Resource, q.Namespace)
	if err != nil {
		return nil, err
	}
	defer s.read(now)()
	w := spanOf(now, q)
	question := &edgeQuestion{what, now, now.Add(-max(w.length, edgeWindow))}
	out := &Edges{Window: s.windowLocked(w)}
	if level := slices.Index(edgeLevel[:], question.endKind()); level >= 0 &&
		what.kind != "service" && s.isRecentLocked(w) {
		question.rankLocked(s, w, level, out)
	} else {
		question.sumLocked(s, w, out)
	}
	slices.SortFunc(out.Rows, compareEdges)
	return out, nil
}

// sumLocked sums every edge up, of whatever time, and leaves the busiest.
func (q *edgeQuestion) sumLocked(s *store, w span, out *Edges) {
	found := collectLocked(s, w, q.key)
	told := tellers(found.groups)
	for k := range found.groups {
		if !q.covers(&k) ||
			k.inbound && k.reportedBy(told[k.join()]) == "both" { // the client's row says it all
			delete(found.groups, k)
		}
	}
	shown := busiest(found.groups, maxEdgeRows)
	out.Omitted = len(found.groups) - len(shown)
	out.Rows = make([]EdgeRow, 0, len(shown))
	for k, g := range shown {
		out.Rows = append(out.Rows, k.row(g, k.reportedBy(told[k.join()])))
	}
}

// rankLocked finds the busiest edges of the last minute first, and sums up no others.
func (q *edgeQuestion) rankLocked(s *store, w span, level int, out *Edges) {
	told := q.toldLocked(s, level)
	r := newRanking(s, w)
	for i, one := range s.level.all {
		b := &s.level.briefs[i]
		at := b.edges[level]
		if one == nil || at.edge == 0 || q.ended(b, one) ||
			b.inbound && b.mtls && told[at.join] == (sides{true, true}) ||
			!q.touches(one, level) {
			continue
		}
		r.add(i, at.edge, false)
	}
	rows := r.collectLocked(s, maxEdgeRows)
	out.Omitted = len(r.rows) - len(rows.groups)
	out.Rows = make([]EdgeRow, 0, len(rows.groups))
	for n, g := range rows.groups {
		first := r.rows[n].first
		k, _ := s.level.all[first].edge(edgeLevel[level])
		by := k.reportedBy(told[s.level.briefs[first].edges[level].join])
		out.Rows = append(out.Rows, k.row(g, by))
	}
}

// toldLocked says of each edge which proxies told of it, by what their accounts have in common.
func (q *edgeQuestion) toldLocked(s *store, level int) map[uint64]sides {
	out := make(map[uint64]sides, len(s.level.all)/2)
	for i, one := range s.level.all {
		b := &s.level.briefs[i]
		if one == nil || !b.mtls || b.edges[level].edge == 0 || q.ended(b, one) {
			continue
		}
		join := b.edges[level].join
		out[join] = out[join].and(b.inbound)
	}
	return out
}

// ended is over, of a whole.
func (q *edgeQuestion) ended(b *brief, whole *series) bool {
	return b.changed < q.since.UnixNano() && q.over(whole)
}

// touches says whether either end of a whole's edge is what was asked for. Mostly its own is.
func (q *edgeQuestion) touches(whole *series, level int) bool {
	if q.what.any() {
		return true
	}
	if own, ok := whole.process.workload.of(edgeLevel[level]); ok && q.what.has(own) {
		return true
	}
	k, _ := whole.edge(edgeLevel[level])
	return q.covers(&k)
}

// key places a series in its edge.
func (q *edgeQuestion) key(s *series) (edgeKey, bool) {
	if q.over(s) {
		return edgeKey{}, false
	}
	if l := s.labels; q.what.kind == "service" && l.outbound() && l.service != "" {
		return s.edgeTo(key{l.namespace, "service", l.service})
	}
	return s.edge(q.endKind())
}

// edge is the one that a series tells of, whose ends are named as a kind.
func (s *series) edge(kind string) (edgeKey, bool) {
	if s.labels.inbound() {
		k := s.edgeKey()
		var ok bool
		k.inbound, k.clientID, k.serverID = true, s.labels.peerID, s.labels.ownID
		k.src = s.caller()
		k.dst, ok = s.process.workload.of(kind)
		return k, ok
	}
	dst, ok := s.called(kind)
	if !ok {
		return edgeKey{}, false
	}
	k, ok := s.edgeTo(dst)
	if kind != "" {
		k.src, ok = s.process.workload.of(kind)
	}
	return k, ok
}

// edgeTo is an outbound one to an end, from the workload.
func (s *series) edgeTo(dst key) (k edgeKey, ok bool) {
	k = s.edgeKey()
	k.clientID, k.serverID, k.dst = s.labels.ownID, s.labels.peerID, dst
	k.src, ok = s.process.workload.of("")
	return k, ok
}

// edgeKey has how the edge is protected.
func (s *series) edgeKey() edgeKey {
	k := edgeKey{security: s.labels.security}
	if !s.encrypted() {
		k.reason = insecureReason(s.labels)
	}
	return k
}

func (s *series) encrypted() bool { return s.labels.security == api.Security_SECURITY_MTLS }

// over says whether a series tells of nothing that still happens.
func (q *edgeQuestion) over(s *series) bool {
	return s.changed.Before(q.since) && (s.open == 0 || !s.process.live(q.now))
}

// endKind is as what an end is named. Workloads of every kind talk to each other, so a question for
// Deployments shows an edge's other end as what it is.
func (q *edgeQuestion) endKind() string {
	if q.what.kind == "pod" || q.what.kind == "namespace" {
		return q.what.kind
	}
	return ""
}

// called is an outbound edge's end: the endpoint's workload, or else the name that was asked for. A
// request that reached no endpoint made no edge.
func (s *series) called(kind string) (key, bool) {
	l := s.labels
	if k, ok := l.peer.of(kind); ok {
		return k, true
	}
	if l.security == api.Security_SECURITY_UNSPECIFIED || l.target() == "" {
		return key{}, false
	}
	return s.target(), true
}

// caller is an inbound edge's source as far as the server's proxy knows: the account in its
// certificate, or its address.
func (s *series) caller() key {
	if ns, account, ok := accountOf(s.labels.peerID); ok {
		return key{ns, "serviceaccount", account}
	}
	if s.labels.peerAddress != "" {
		return key{"", "address", s.labels.peerAddress}
	}
	return key{"", "address", "unknown"}
}

// sides are those whose proxies told of an edge.
type sides struct{ client, server bool }

func (s sides) and(inbound bool) sides {
	return sides{s.client || !inbound, s.server || inbound}
}

// tellers says of each edge which proxies told of it, with the same IDs.
func tellers(groups map[edgeKey]*group) map[join]sides {
	out := make(map[join]sides, len(groups)/2)
	for k := range groups {
		if k.security == api.Security_SECURITY_MTLS {
			out[k.join()] = out[k.join()].and(k.inbound)
		}
	}
	return out
}

// reportedBy is "both", "client" or "server", by who told of what the edge's accounts share.
func (k *edgeKey) reportedBy(told sides) string {
	if k.security == api.Security_SECURITY_MTLS && told == (sides{true, true}) {
		return "both"
	}
	if k.inbound {
		return "server"
	}
	return "client"
}

// covers says whether either end is what was asked for.
func (q *edgeQuestion) covers(k *edgeKey) bool {
	return q.what.has(k.src) || q.what.has(k.dst)
}

func (k *edgeKey) row(g *group, by string) EdgeRow {
	return EdgeRow{
		Src: k.src.name, SrcKind: k.src.kind, SrcNamespace: k.src.namespace,
		Dst: k.dst.name, DstKind: k.dst.kind, DstNamespace: k.dst.namespace,
		ClientID: k.clientID, ServerID: k.serverID,
		Encrypted: k.security == api.Security_SECURITY_MTLS,
		Security:  securityName(k.security), Reason: k.reason, ReportedBy: by, Figures: g.figures(),
	}
}

func compareEdges(a, b EdgeRow) int {
	return cmp.Or(
		cmp.Compare(a.SrcNamespace, b.SrcNamespace), cmp.Compare(a.Src, b.Src),
		cmp.Compare(a.DstNamespace, b.DstNamespace),
		cmp.Compare(a.Dst, b.Dst), cmp.Compare(a.Security, b.Security),
		cmp.Compare(a.ClientID, b.ClientID),
		cmp.Compare(a.ServerID, b.ServerID),
	)
}
