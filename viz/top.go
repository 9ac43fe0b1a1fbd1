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
	out := &Top{Window: s.windowLocked(w), Proxies: len(pods), Rows: []TopRow{}}
	if question.group == GroupRoute && s.isRecentLocked(w) {
		question.rankLocked(s, w, out)
	} else {
		question.sumLocked(s, w, out)
	}
	slices.SortFunc(out.Rows, compareTop)
	return out, nil
}

// sumLocked sums every row up, of whatever time and grouping, and leaves the busiest.
func (q *topQuestion) sumLocked(s *store, w span, out *Top) {
	rows := collectLocked(s, w, q.key)
	out.Total = rows.sum().figures()
	for k, g := range rows.groups {
		if g.idle() {
			delete(rows.groups, k)
		}
	}
	shown := busiest(rows.groups, maxTopRows)
	rows.trendsLocked(s, w, slices.Collect(maps.Values(shown)))
	for k, g := range shown {
		out.Rows = append(out.Rows, k.row(g))
	}
}

// idle says whether there is nothing to be seen: who is ejected gets no requests, and is to be seen
// all the same.
func (g *group) idle() bool {
	return g.window == (counters{}) && g.open == 0 && len(g.standing.ejected) == 0
}

// rankLocked finds the busiest rows of the last minute first, and sums up of the others only what
// all are together.
func (q *topQuestion) rankLocked(s *store, w span, out *Top) {
	ejecting := make(map[*series]bool)
	for part := range s.noted {
		if part.ejected > 0 && part.process.live(w.now) {
			ejecting[part.whole] = true
		}
	}
	r, all := newRanking(s, w), &group{}
	var scratch []bucket
	for i, one := range s.level.all {
		if one == nil || s.level.briefs[i].call == 0 || !q.counts(one) {
			continue
		}
		all.elapsed = max(all.elapsed, r.times.elapsed(one.process))
		all.count(w, one)
		all.addPacked(one.recent, &scratch)
		r.add(i, s.level.briefs[i].call, one.recent.zero() && one.open == 0 && !ejecting[one])
	}
	for part := range s.noted {
		if s.level.briefs[part.whole.index].call != 0 && q.counts(part.whole) &&
			part.process.live(w.now) {
			all.standing.note(part)
		}
	}
	out.Total = all.figures()
	rows := r.collectLocked(s, maxTopRows)
	rows.trendsLocked(s, w, slices.Collect(maps.Values(rows.groups)))
	for n, g := range rows.groups {
		k := s.level.all[r.rows[n].first].call(q.group)
		out.Rows = append(out.Rows, k.row(g))
	}
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
	if !q.counts(s) {
		return topKey{}, false
	}
	k := s.call(q.group)
	return k, k.to.name != ""
}

func (q *topQuestion) counts(s *series) bool {
	l := s.labels
	if l.inbound() && q.reporting[l.peerID] || !q.covers(s) {
		return false
	}
	return q.route == "" || routeName(l) == q.route
}

// call is the row that a series is of, in a grouping.
func (s *series) call(group string) topKey {
	k := topKey{from: s.sender(group), to: s.receiver(group)}
	if group == GroupRoute || group == GroupPod {
		k.route = routeName(s.labels)
	}
	if group == GroupIdentity {
		k.clientID, k.serverID = s.ids()
	}
	return k
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
