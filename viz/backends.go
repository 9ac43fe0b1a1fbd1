package viz

import (
	"cmp"
	"slices"
	"time"
)

// backendKey is one row of backends.
type backendKey struct {
	namespace, service, backend string
}

// backends answers /api/backends: the versions that a service's calls were sent to, as its callers'
// proxies measure them, for it is they who choose by a route's weights.
func (s *store) backends(now time.Time, q Query) (*Backends, error) {
	what, err := parseResource(q.Resource, q.Namespace)
	if err != nil {
		return nil, err
	}
	defer s.read(now)()
	w := spanOf(now, q)
	rows := collectLocked(s, w, func(one *series) (backendKey, bool) {
		l := one.labels
		if !l.outbound() || l.backend == "" || l.service == "" || !one.routedTo(what) {
			return backendKey{}, false
		}
		return backendKey{l.namespace, l.service, l.backend}, true
	})
	out := &Backends{Window: s.windowLocked(w), Rows: make([]BackendRow, 0, len(rows.groups))}
	for k, g := range rows.groups {
		out.Rows = append(out.Rows, BackendRow{Backend: k.backend, Service: k.service,
			Namespace: k.namespace, Figures: g.figures()})
	}
	slices.SortFunc(out.Rows, func(a, b BackendRow) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Service, b.Service),
			cmp.Compare(a.Backend, b.Backend))
	})
	return out, nil
}
