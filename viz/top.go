package viz

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// The groupings of top, coarse to fine.
const (
	GroupService  = "service"
	GroupRoute    = "route"
	GroupPod      = "pod"
	GroupIdentity = "identity"
)

// maxTopRows bounds an answer: a page that is drawn each second. The busiest stay.
const maxTopRows = 500

// topKey is one row of top.
type topKey struct {
	from, to           key
	route              string
	clientID, serverID string // grouped by identity only
}

// topQuestion is a checked Query for top.
type topQuestion struct {
	*statQuestion
	route, group string
	// IDs of live proxies: their requests are counted where they were sent
	reporting map[string]bool
}

// top answers /api/top: who sends what to whom, right now.
func (s *store) top(now time.Time, q Query) (*Top, error) {
	question, err := parseTop(q)
	if err != nil {
		return nil, err
	}
	defer s.read(now)()
	w := spanOf(now, q)
	question.reporting = make(map[string]bool)
	pods := make(map[reporter]struct{})
	for _, p := range s.processes {
		if p.live(now) {
			question.reporting[p.key.reporter.id] = true
			pods[p.key.reporter] = struct{}{}
		}
	}
	rows := collectLocked(s, w, question.key)
	out := &Top{Window: s.windowLocked(w), Proxies: len(pods), Rows: []TopRow{}}
	out.Total = rows.sum().figures()
	for k, g := range rows.groups {
		// who is ejected gets no requests, and is to be seen all the same
		if g.window == (counters{}) && g.open == 0 && len(g.standing.ejected) == 0 {
			delete(rows.groups, k)
		}
	}
	shown := busiest(rows.groups, maxTopRows)
	rows.trendsLocked(s, w, slices.Collect(maps.Values(shown)))
	for k, g := range shown {
		out.Rows = append(out.Rows, k.row(g))
	}
	slices.SortFunc(out.Rows, compareTop)
	return out, nil
}

func parseTop(q Query) (*topQuestion, error) {
	sides, err := parseSides(q)
	if err != nil {
		return nil, err
	}
	switch q.Group {
	case "":
		q.Group = GroupRoute
	case GroupService, GroupRoute, GroupPod, GroupIdentity:
	default:
		return nil, fmt.Errorf("%w: group is %q: use service, route, pod or identity", errQuery,
			q.Group)
	}
	return &topQuestion{statQuestion: sides, route: q.Route, group: q.Group}, nil
}

// key places a series in its row. What meshed callers send is counted at their side, where retries
// show; the server's side adds only callers that no proxy reports for.
func (q *topQuestion) key(s *series) (topKey, bool) {
	l := s.labels
	if l.inbound() && q.reporting[l.peerID] || !q.covers(s) {
		return topKey{}, false
	}
	if q.route != "" && routeName(l) != q.route {
		return topKey{}, false
	}
	k := topKey{from: s.sender(q.group), to: s.receiver(q.group)}
	if q.group == GroupRoute || q.group == GroupPod {
		k.route = routeName(l)
	}
	if q.group == GroupIdentity {
		k.clientID, k.serverID = s.ids()
	}
	return k, k.to.name != ""
}

func (q *topQuestion) covers(s *series) bool {
	if !s.from(q.from) || !s.to(q.to) {
		return false
	}
	return q.what.any() || s.from(q.what) || s.routedTo(q.what)
}

// sender is who sends a series' requests, in the words of a grouping.
func (s *series) sender(group string) key {
	if s.labels.inbound() {
		return s.caller()
	}
	if group == GroupPod {
		k, _ := s.process.workload.of("pod")
		return k
	}
	k, _ := s.process.workload.of("")
	return k
}

// receiver is who gets them: the service that was asked for, or with pods the endpoint behind it.
func (s *series) receiver(group string) key {
	l := s.labels
	if l.inbound() {
		if group == GroupPod {
			return key{s.process.workload.namespace, "pod", s.process.workload.pod}
		}
		return key{s.process.workload.namespace, s.process.workload.kind, s.process.workload.name}
	}
	if k, ok := l.peer.of("pod"); ok && group == GroupPod {
		return k
	}
	return s.target()
}

// target is the name that an outbound request went to: a service's, or one outside the cluster.
func (s *series) target() key {
	if s.labels.service != "" {
		return key{s.labels.namespace, "service", s.labels.service}
	}
	return key{"", "address", s.labels.authority}
}

func (s *series) ids() (client, server string) {
	if s.labels.inbound() {
		return s.labels.peerID, s.labels.ownID
	}
	return s.labels.ownID, s.labels.peerID
}

// sum is all groups together.
func (c *collection[K]) sum() *group {
	all := &group{}
	for _, g := range c.groups {
		all.total.add(&g.total)
		all.window.add(&g.window)
		all.open += g.open
		all.standing.add(&g.standing)
		all.elapsed = max(all.elapsed, g.elapsed)
		all.latency.addAll(&g.latency)
	}
	return all
}

func (k *topKey) row(g *group) TopRow {
	return TopRow{
		From: k.from.name, FromKind: k.from.kind, FromNamespace: k.from.namespace,
		To: k.to.name, ToKind: k.to.kind, ToNamespace: k.to.namespace, Route: k.route,
		ClientID: g.client, ServerID: g.server, Encrypted: g.encrypted(), Security: g.name(),
		Reason: g.reason,
		Trend:  g.trend(), Figures: g.figures(),
	}
}

func compareTop(a, b TopRow) int {
	return cmp.Or(
		cmp.Compare(b.RPS, a.RPS), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To),
		cmp.Compare(a.Route, b.Route),
		cmp.Compare(a.ClientID, b.ClientID), cmp.Compare(a.ServerID, b.ServerID),
	)
}
