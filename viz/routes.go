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
	defer s.read(now)()
	w := spanOf(now, q)
	key := func(one *series) (routeKey, bool) {
		l := one.labels
		if !l.outbound() || l.target() == "" || !one.routedTo(what) || !one.from(from) {
			return routeKey{}, false
		}
		return routeKey{l.namespace, l.target(), routeName(l)}, true
	}
	rows, versions := collectLocked(s, w, key), s.versionsLocked(w, key)
	out := &Routes{Window: s.windowLocked(w), Rows: make([]RouteRow, 0, len(rows.groups))}
	for k, g := range rows.groups {
		out.Rows = append(out.Rows, RouteRow{Route: k.route, Service: k.service,
			Namespace: k.namespace, Backends: versions[k], Figures: g.figures()})
	}
	slices.SortFunc(out.Rows, func(a, b RouteRow) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Service, b.Service),
			cmp.Compare(a.Route, b.Route))
	})
	return out, nil
}

// versionsLocked are where each route's requests were sent. It needs the store's lock for reading.
func (s *store) versionsLocked(
	w span, key func(*series) (routeKey, bool),
) map[routeKey][]RouteBackend {
	type version struct {
		routeKey
		backend string
	}
	found := collectLocked(s, w, func(one *series) (version, bool) {
		k, ok := key(one)
		return version{k, one.labels.backend}, ok && one.labels.backend != ""
	})
	out, all := make(map[routeKey][]RouteBackend), make(map[routeKey]uint64)
	for v, g := range found.groups {
		n := g.window[requests]
		out[v.routeKey] = append(out[v.routeKey],
			RouteBackend{Backend: v.backend, WindowRequests: n})
		all[v.routeKey] += n
	}
	for k, list := range out {
		slices.SortFunc(list, func(a, b RouteBackend) int {
			return cmp.Compare(a.Backend, b.Backend)
		})
		for i := range list {
			list[i].Share = ratio(list[i].WindowRequests, all[k])
		}
	}
	return out
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
