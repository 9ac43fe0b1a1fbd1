package viz

import (
	"cmp"
	"slices"
	"time"
)

// defaultRoute is shown where no route of the profile matched.
const defaultRoute = "[default]"

// routeKey is one row of routes.
type routeKey struct {
	namespace, service, route string
}

// routes answers /api/routes: routes of a destination, as its callers' proxies measure them, for
// only they know what was retried.
func (s *store) routes(now time.Time, q Query) (*Routes, error) {
	var what resource
	var err error
	if what, err = parseResource(q.Resource, q.Namespace); err != nil {
		return nil, err
	}
	from, err := parseResource(q.From, q.FromNamespace)
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	w := spanOf(now, q)
	rows := collectLocked(s, w, func(one *series) (routeKey, bool) {
		l := one.labels
		if !l.outbound() || l.target() == "" || !one.routedTo(what) || !one.from(from) {
			return routeKey{}, false
		}
		return routeKey{l.namespace, l.target(), routeName(l)}, true
	})
	out := &Routes{Window: s.windowLocked(w), Rows: make([]RouteRow, 0, len(rows.groups))}
	for k, g := range rows.groups {
		out.Rows = append(out.Rows, RouteRow{Route: k.route, Service: k.service,
			Namespace: k.namespace, Figures: g.figures()})
	}
	slices.SortFunc(out.Rows, func(a, b RouteRow) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Service, b.Service),
			cmp.Compare(a.Route, b.Route))
	})
	return out, nil
}

// routedTo is to, except that without a kind a service's namespace is what counts: a request that
// reached no endpoint has a route, too.
func (s *series) routedTo(r resource) bool {
	if r.kind == "" && s.labels.outbound() {
		return r.namespace == "" || s.labels.namespace == r.namespace
	}
	return s.to(r)
}

func routeName(l *labels) string {
	if l.route == "" {
		return defaultRoute
	}
	return l.route
}
