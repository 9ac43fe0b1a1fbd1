package serve

import (
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds of HTTP: what is asked here is a line and a few headers.
const (
	headTimeout = 5 * time.Second // for a TLS handshake, and then for each request's head
	bodyTimeout = 10 * time.Second
	idleTimeout = 2 * time.Minute
	maxHead     = 8 << 10
	// h2Buffer is what arrives before a handler reads it, of an HTTP/2 connection: the least that
	// RFC 9113, section 6.9.2, allows.
	h2Buffer  = 64<<10 - 1
	h2Streams = 50 // at once, of one connection
)

// NewHTTP makes a server whose requests are small and soon read. Answers may take their time: who
// serves sets WriteTimeout.
func NewHTTP(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headTimeout, ReadTimeout: bodyTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maxHead,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: h2Streams, MaxReceiveBufferPerConnection: h2Buffer,
			MaxReceiveBufferPerStream: h2Buffer,
		},
	}
}

// PageLimits are those of a port for probes and figures: a kubelet, and a Prometheus or two.
func PageLimits() Limits { return Limits{Connections: 128, PerAddress: 32} }

// LoopbackLimits are those of a port where all have one address: a few people, by port-forward.
func LoopbackLimits() Limits { return Limits{Connections: 128, PerAddress: 128} }

// Bound makes l an HTTP server's listener that holds no more than limits; name is the server's in
// the metrics, which to may be nil for.
func Bound(name string, l net.Listener, limits Limits, to prometheus.Registerer) net.Listener {
	return plain(l, limits, newMetrics(name, to))
}
