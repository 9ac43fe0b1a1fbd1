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
	found := collectLocked(s, w, question.key)
	told := tellers(found.groups)
	for k := range found.groups {
		if !question.covers(&k) ||
			k.inbound && k.reportedBy(told) == "both" { // the client's row says it all
			delete(found.groups, k)
		}
	}
	shown := busiest(found.groups, maxEdgeRows)
	out := &Edges{Window: s.windowLocked(w), Rows: make([]EdgeRow, 0, len(shown)),
		Omitted: len(found.groups) - len(shown)}
	for k, g := range shown {
		out.Rows = append(out.Rows, k.row(g, k.reportedBy(told)))
	}
	slices.SortFunc(out.Rows, compareEdges)
	return out, nil
}

// key places a series in its edge.
func (q *edgeQuestion) key(s *series) (edgeKey, bool) {
	l := s.labels
	if q.over(s) {
		return edgeKey{}, false
	}
	k := edgeKey{security: l.security}
	if l.security != api.Security_SECURITY_MTLS {
		k.reason = insecureReason(l)
	}
	var ok bool
	if l.inbound() {
		k.inbound, k.clientID, k.serverID = true, l.peerID, l.ownID
		k.src = s.caller()
		k.dst, ok = s.process.workload.of(q.endKind())
		return k, ok
	}
	k.clientID, k.serverID = l.ownID, l.peerID
	if k.src, ok = s.process.workload.of(q.endKind()); !ok {
		return k, false
	}
	k.dst, ok = q.target(s)
	return k, ok
}

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

// target is an outbound edge's end: the endpoint's workload, or else the name that was asked for. A
// request that reached no endpoint made no edge.
func (q *edgeQuestion) target(s *series) (key, bool) {
	l := s.labels
	if q.what.kind == "service" && l.service != "" {
		return key{l.namespace, "service", l.service}, true
	}
	if k, ok := l.peer.of(q.endKind()); ok {
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

// tellers says of each edge which proxies told of it, with the same IDs.
func tellers(groups map[edgeKey]*group) map[join]sides {
	out := make(map[join]sides, len(groups)/2)
	for k := range groups {
		if k.security != api.Security_SECURITY_MTLS {
			continue
		}
		at := k.join()
		both := out[at]
		both.client, both.server = both.client || !k.inbound, both.server || k.inbound
		out[at] = both
	}
	return out
}

// reportedBy is "both", "client" or "server".
func (k *edgeKey) reportedBy(told map[join]sides) string {
	if k.security == api.Security_SECURITY_MTLS && told[k.join()] == (sides{true, true}) {
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
