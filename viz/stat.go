package viz

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/viz/api"
)

// statQuestion is a checked Query for stat.
type statQuestion struct {
	what, from, to resource
	measured       map[key]bool      // resources that have proxies of their own
	standings      map[key]*standing // of those, with their callers
}

// stat answers /api/stat.
func (s *store) stat(now time.Time, q Query) (*Stat, error) {
	question, err := parseStat(q)
	if err != nil {
		return nil, err
	}
	defer s.read(now)()
	w := spanOf(now, q)
	proxies := s.proxies(now, question.what)
	question.measured = make(map[key]bool, len(proxies))
	for k := range proxies {
		question.measured[k] = true
	}
	rows := collectLocked(s, w, question.row)
	if question.from.any() && question.to.any() {
		question.standings = s.standingsLocked(w, question.what.kind)
		for k := range proxies {
			rows.group(k) // a meshed workload without traffic has a row, too
		}
	}
	out := &Stat{Window: s.windowLocked(w), Rows: make([]StatRow, 0, len(rows.groups))}
	for k, g := range rows.groups {
		out.Rows = append(out.Rows, question.statRow(k, g, proxies[k]))
	}
	slices.SortFunc(out.Rows, func(a, b StatRow) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out, nil
}

func parseStat(q Query) (*statQuestion, error) {
	if q.Resource == "" {
		return nil, fmt.Errorf("%w: resource is missing: for example deploy/web", errQuery)
	}
	if q.From != "" && q.To != "" {
		return nil, fmt.Errorf("%w: from and to exclude each other", errQuery)
	}
	return parseSides(q)
}

func parseSides(q Query) (*statQuestion, error) {
	what, err := parseResource(q.Resource, q.Namespace)
	if err != nil {
		return nil, err
	}
	from, err := parseResource(q.From, q.FromNamespace)
	if err != nil {
		return nil, fmt.Errorf("from: %w", err)
	}
	if from.kind == "service" {
		return nil, fmt.Errorf("%w: a service sends nothing: name the workload behind it", errQuery)
	}
	to, err := parseResource(q.To, q.ToNamespace)
	if err != nil {
		return nil, fmt.Errorf("to: %w", err)
	}
	if what.kind == "service" && !to.any() {
		return nil, fmt.Errorf("%w: a service sends nothing: name the workload behind it", errQuery)
	}
	return &statQuestion{what: what, from: from, to: to}, nil
}

// row says in which row a series counts. Without from and to a workload's own proxies are asked,
// since they see every caller; what has none is measured by its callers, and so is everything when
// one side is singled out.
func (q *statQuestion) row(s *series) (key, bool) {
	var k key
	var ok bool
	switch {
	case !q.to.any():
		if !s.labels.outbound() || !s.to(q.to) {
			return k, false
		}
		k, ok = s.source(q.what.kind)
	case !q.from.any():
		if !s.labels.outbound() || !s.from(q.from) {
			return k, false
		}
		k, ok = s.destination(q.what.kind)
	default:
		k, ok = s.destination(q.what.kind)
		ok = ok && s.labels.inbound() == q.measured[k]
	}
	return k, ok && q.what.has(k)
}

// proxiesOf is what is known of a resource's own proxies.
type proxiesOf struct {
	pods   map[string]struct{} // live ones
	folded uint64
	full   bool
	expiry time.Time
	// Of what they hold of destination's.
	age       *time.Duration // the oldest word
	revisions map[string]struct{}
	stale     int
	of        string // a pod's workload
}

// proxies finds the processes of every resource that is asked for. Those that ended keep its row
// for the history's length.
func (s *store) proxies(now time.Time, what resource) map[key]*proxiesOf {
	out := make(map[key]*proxiesOf)
	if what.kind == "service" {
		return out
	}
	for _, p := range s.processes {
		k, ok := p.workload.of(what.kind)
		if !ok || !what.has(k) {
			continue
		}
		if out[k] == nil {
			out[k] = newProxiesOf()
		}
		if p.live(now) {
			out[k].add(p, now)
		}
	}
	return out
}

func newProxiesOf() *proxiesOf {
	return &proxiesOf{pods: make(map[string]struct{}), revisions: make(map[string]struct{})}
}

func (o *proxiesOf) add(p *process, now time.Time) {
	if age := p.configAge(now); age != nil {
		o.revisions[p.held.revision] = struct{}{}
		if o.age == nil || *age > *o.age {
			o.age = age
		}
	}
	if p.stale(now) {
		o.stale++
	}
	o.pods[p.key.reporter.pod] = struct{}{}
	o.folded += p.dropped
	o.full = o.full || p.full
	o.of = p.workload.kind + "/" + p.workload.name
	if p.expiry.Unix() > 0 && (o.expiry.IsZero() || p.expiry.Before(o.expiry)) {
		o.expiry = p.expiry
	}
}

func (q *statQuestion) statRow(k key, g *group, own *proxiesOf) StatRow {
	row := StatRow{Name: k.name, Namespace: k.namespace, Kind: k.kind, MeasuredBy: "client",
		Figures: g.figures()}
	if own == nil {
		row.Meshed = q.what.kind == "service" && g.has(api.Security_SECURITY_MTLS)
		return row
	}
	if q.from.any() && q.to.any() {
		row.MeasuredBy = "server"
		if standing := q.standings[k]; standing != nil { // callers alone know
			row.Ejected, row.Endpoints = standing.sums()
		}
	}
	row.Proxies, row.Meshed = len(own.pods), len(own.pods) > 0
	row.Folded, row.Incomplete = own.folded, own.full
	row.ConfigAgeSeconds, row.ConfigStale = inSeconds(own.age), own.stale
	if row.ConfigRevisions = len(own.revisions); row.ConfigRevisions == 1 {
		for row.ConfigRevision = range own.revisions {
			break
		}
	}
	if k.kind == "pod" {
		row.Workload = own.of
	}
	if !own.expiry.IsZero() {
		expiry := own.expiry.UTC()
		row.CertificateExpiry = &expiry
	}
	return row
}
