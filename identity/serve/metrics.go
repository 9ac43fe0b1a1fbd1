package serve

import (
	"github.com/prometheus/client_golang/prometheus"
)

// reason is why a connection was refused, as metrics say it.
type reason string

const (
	reasonAddress  reason = "address"  // its address holds as many as one may
	reasonIdentity reason = "identity" // its SVID does
	// the server does, and nobody holds more than this caller would
	reasonFull      reason = "full"
	reasonMemory    reason = "memory"    // GOMEMLIMIT is near
	reasonFairness  reason = "fairness"  // it gave way to a caller that holds less
	reasonHandshake reason = "handshake" // it failed, or took too long
)

func reasonOf(noMemory bool) reason {
	if noMemory {
		return reasonMemory
	}
	return reasonFull
}

// listenerMetrics are one listener's.
type listenerMetrics struct {
	connections prometheus.Gauge
	refusals    *prometheus.CounterVec
}

// newMetrics registers the figures of the server that is called name; to may be nil.
func newMetrics(name string, to prometheus.Registerer) *listenerMetrics {
	m := &listenerMetrics{
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tulle_server_connections", Help: "Open connections."}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_server_refused_connections_total",
			Help: "Connections that were refused or ended to make room, by reason."},
			[]string{"reason"}),
	}
	for _, why := range []reason{reasonAddress, reasonIdentity, reasonFull, reasonMemory,
		reasonFairness, reasonHandshake} {
		m.refusals.WithLabelValues(string(why))
	}
	if to != nil {
		named(name, to).MustRegister(m.connections, m.refusals)
	}
	return m
}

// named tells a process's servers apart.
func named(name string, to prometheus.Registerer) prometheus.Registerer {
	return prometheus.WrapRegistererWith(prometheus.Labels{"server": name}, to)
}

func (m *listenerMetrics) refused(why reason) { m.refusals.WithLabelValues(string(why)).Inc() }
