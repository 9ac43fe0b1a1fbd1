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
	rows := collectLocked(s, w, key)
	versions := s.versionsLocked(w, key, rows)
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

// version is one of those that a route's requests are sent to.
type version struct {
	routeKey
	backend string
}

// versionsLocked are where each route's requests were sent. It needs the store's lock for reading.
func (s *store) versionsLocked(
	w span, key func(*series) (routeKey, bool), rows *collection[routeKey],
) map[routeKey][]RouteBackend {
	sent := make(map[version]uint64)
	if s.isRecentLocked(w) {
		for i, one := range s.level.all {
			if rows.of[i] != nil && one.labels.backend != "" {
				k, _ := key(one)
				sent[version{k, one.labels.backend}] += s.level.briefs[i].requests
			}
		}
	} else {
		found := collectLocked(s, w, func(one *series) (version, bool) {
			k, ok := key(one)
			return version{k, one.labels.backend}, ok && one.labels.backend != ""
		})
		for v, g := range found.groups {
			sent[v] = g.window[requests]
		}
	}
	return backendsOf(sent)
}

// backendsOf are the parts that versions have in their routes.
func backendsOf(sent map[version]uint64) map[routeKey][]RouteBackend {
	out, all := make(map[routeKey][]RouteBackend), make(map[routeKey]uint64)
	for v, n := range sent {
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
