package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// HealthPort is where every control-plane server answers the kubelet and Prometheus: /live, /ready,
// /metrics, in plain HTTP, for neither has an SVID. Nothing there changes anything.
const HealthPort = 9990

// healthTimeout bounds the writing of an answer: a caller that does not read holds it no longer.
const healthTimeout = 5 * time.Second

// scrapesAtOnce bounds what gathering the figures takes.
const scrapesAtOnce = 2

// Health tells whether a control-plane server can work, and its figures.
type Health struct {
	Metrics *prometheus.Registry

	mu     sync.Mutex // guards checks
	checks []check
}

type check struct {
	name  string
	ready func() error
}

// NewHealth has the process's own figures already.
func NewHealth() *Health {
	h := &Health{Metrics: prometheus.NewRegistry()}
	h.Metrics.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return h
}

// Check adds a condition of being ready: ready returns nil, or what is missing. It must not block.
func (h *Health) Check(name string, ready func() error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, check{name, ready})
}

// Ready is nil, or everything that is missing.
func (h *Health) Ready() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var missing []error
	for _, c := range h.checks {
		if err := c.ready(); err != nil {
			missing = append(missing, fmt.Errorf("%s: %w", c.name, err))
		}
	}
	return errors.Join(missing...)
}

// Handler serves /live, /ready and /metrics.
func (h *Health) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "live")
	})
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if err := h.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	mux.Handle("GET /metrics", InTurn(promhttp.HandlerFor(h.Metrics, promhttp.HandlerOpts{})))
	return mux
}

// Serve answers until the context ends.
func (h *Health) Serve(ctx context.Context, l net.Listener) error {
	limits := PageLimits()
	server := NewHTTP(h.Handler())
	server.WriteTimeout = healthTimeout
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(Bound("health", l, limits, h.Metrics)); ctx.Err() == nil {
		return fmt.Errorf("serve health: %w", err)
	}
	return nil
}

// InTurn answers scrapesAtOnce requests at once. The others wait, in the order in which they came:
// if they were refused, a caller that asks all the time could keep Prometheus from its figures. An
// address has no more requests in the queue than it has connections.
func InTurn(h http.Handler) http.Handler {
	turns := make(chan struct{}, scrapesAtOnce)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case turns <- struct{}{}:
			defer func() { <-turns }()
			h.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
}
