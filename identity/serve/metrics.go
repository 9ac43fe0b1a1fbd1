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

// callMetrics are of the calls of one server, by the names that grpc-go's users know.
type callMetrics struct{ started, handled, received, sent *prometheus.CounterVec }

func newCallMetrics(name string, to prometheus.Registerer) *callMetrics {
	labels := []string{"grpc_type", "grpc_service", "grpc_method"}
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(
			prometheus.CounterOpts{Name: "grpc_server_" + name + "_total", Help: help}, labels)
	}
	m := &callMetrics{
		started: vec("started", "Calls begun.", labels...),
		handled: vec("handled", "Calls that have ended, by their status.",
			append(labels[:len(labels):len(labels)], "grpc_code")...),
		received: vec("msg_received", "Messages received.", labels...),
		sent:     vec("msg_sent", "Messages sent.", labels...),
	}
	if to != nil {
		named(name, to).MustRegister(m.started, m.handled, m.received, m.sent)
	}
	return m
}

// methodMetrics are one method's.
type methodMetrics struct {
	started, received, sent prometheus.Counter
	handled                 *prometheus.CounterVec // by grpc_code
}

func (m *callMetrics) of(kind, service, method string) methodMetrics {
	return methodMetrics{
		started:  m.started.WithLabelValues(kind, service, method),
		received: m.received.WithLabelValues(kind, service, method),
		sent:     m.sent.WithLabelValues(kind, service, method),
		handled: m.handled.MustCurryWith(prometheus.Labels{
			"grpc_type": kind, "grpc_service": service, "grpc_method": method}),
	}
}

// named tells a process's servers apart.
func named(name string, to prometheus.Registerer) prometheus.Registerer {
	return prometheus.WrapRegistererWith(prometheus.Labels{"server": name}, to)
}

func (m *listenerMetrics) refused(why reason) { m.refusals.WithLabelValues(string(why)).Inc() }
