package viz

import (
	"cmp"
	"slices"
	"time"
)

// staleConfig is how long a proxy may be without destination before what it holds counts as stale.
// A stream that ended at its age, or with its replica, is back sooner.
const staleConfig = 30 * time.Second

// held is what a proxy holds of destination's: see ReportRequest.config_revision.
type held struct {
	revision  string
	age       time.Duration
	connected bool
}

// configAge is how long ago destination's last word to the proxy was; nil: none is known.
func (p *process) configAge(now time.Time) *time.Duration {
	if p.held.revision == "" {
		return nil
	}
	age := p.held.age + max(0, now.Sub(p.seen))
	return &age
}

// stale reports whether what the proxy holds may be old.
func (p *process) stale(now time.Time) bool {
	age := p.configAge(now)
	return age != nil && !p.held.connected && *age >= staleConfig
}

// Proxies is the answer to /api/proxies.
type Proxies struct {
	Rows []ProxyRow `json:"rows"`
}

// ProxyRow is one proxy that reports.
type ProxyRow struct {
	Pod       string    `json:"pod"`
	Namespace string    `json:"namespace"`
	Workload  string    `json:"workload"`
	Kind      string    `json:"kind"` // of the workload
	Identity  string    `json:"identity"`
	Version   string    `json:"version"`
	Started   time.Time `json:"started"`
	// ConfigRevision is the same in two proxies that hold the same of what destination says. Empty:
	// it was told nothing yet, or is a proxy of before.
	ConfigRevision string `json:"configRevision"`
	// ConfigAgeSeconds is how long ago destination's last word to it was. While it is connected
	// what it holds is current, however long ago that was.
	ConfigAgeSeconds *float64 `json:"configAgeSeconds"`
	ConfigConnected  bool     `json:"configConnected"`
	// ConfigStale: it has been without destination for half a minute or more.
	ConfigStale       bool       `json:"configStale"`
	CertificateExpiry *time.Time `json:"certificateExpiry,omitempty"`
}

// reporting answers /api/proxies.
func (s *store) reporting(now time.Time, q Query) (*Proxies, error) {
	what, err := parseResource(q.Resource, q.Namespace)
	if err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := &Proxies{Rows: []ProxyRow{}}
	for _, p := range s.processes {
		if p.live(now) && p.in(what) {
			out.Rows = append(out.Rows, p.row(now))
		}
	}
	slices.SortFunc(out.Rows, func(a, b ProxyRow) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod))
	})
	return out, nil
}

// in reports whether the proxy is of a resource, or in a namespace where that has no kind.
func (p *process) in(what resource) bool {
	if what.kind == "" {
		return what.namespace == "" || what.namespace == p.key.reporter.namespace
	}
	k, ok := p.workload.of(what.kind)
	return ok && what.has(k)
}

func (p *process) row(now time.Time) ProxyRow {
	r := ProxyRow{Pod: p.key.reporter.pod, Namespace: p.key.reporter.namespace,
		Workload: p.workload.name, Kind: p.workload.kind, Identity: p.key.reporter.id,
		Version: p.version, Started: p.seen.Add(-p.uptime).UTC(),
		ConfigRevision: p.held.revision, ConfigAgeSeconds: inSeconds(p.configAge(now)),
		ConfigConnected: p.held.connected, ConfigStale: p.stale(now)}
	if p.expiry.Unix() > 0 {
		expiry := p.expiry.UTC()
		r.CertificateExpiry = &expiry
	}
	return r
}

func inSeconds(d *time.Duration) *float64 {
	if d == nil {
		return nil
	}
	s := d.Seconds()
	return &s
}
