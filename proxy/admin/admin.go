package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

const (
	headerTimeout  = 5 * time.Second  // a probe's request is one packet
	requestTimeout = 10 * time.Second // the default scrape timeout of Prometheus
	idleTimeout    = 2 * time.Minute  // longer than the usual scrape interval, so that a scraper keeps its connection
	maxHeaderBytes = 8 << 10          // net/http's default is 1 MiB
	maxBody        = 64               // the only body is a level's name
	maxScrapes     = 2                // at once: with a full table of series one makes 8 MB of garbage
)

// Options are what a Server shows and does. All fields but Log are required.
type Options struct {
	Registry *metric.Registry
	Unready  func() []string // why the proxy is not ready, in words; empty: it is
	Shutdown func()          // begins to drain; called at most once, on a request's goroutine
	Level    *slog.LevelVar
	Version  string
	Log      *slog.Logger
}

// Server is the admin port of one proxy.
type Server struct {
	o        Options
	http     *http.Server
	shutdown sync.Once
}

// New makes a server; Serve starts it.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o}
	s.http = &http.Server{
		Handler:           http.NewCrossOriginProtection().Handler(s.routes()),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       requestTimeout,
		WriteTimeout:      requestTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		// Its messages are about broken clients: nothing that an operator must see.
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return s
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", s.ready)
	mux.HandleFunc("GET /live", live)
	mux.Handle("GET /metrics", s.metrics())
	mux.HandleFunc("POST /shutdown", ownPodOnly(s.drain))
	mux.HandleFunc("GET /log-level", ownPodOnly(s.level))
	mux.HandleFunc("PUT /log-level", ownPodOnly(s.setLevel))
	return mux
}

// Serve answers on l until Close; then it returns nil. It closes l.
func (s *Server) Serve(l net.Listener) error {
	err := s.http.Serve(newLimiter(l))
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve admin on %s: %w", l.Addr(), err)
}

// Close stops accepting, lets requests end until ctx is done, and then cuts them off.
func (s *Server) Close(ctx context.Context) error {
	if s.http.Shutdown(ctx) == nil {
		return nil
	}
	return s.http.Close()
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	why := s.o.Unready()
	if len(why) == 0 {
		answer(w, http.StatusOK, "ready")
		return
	}
	answer(w, http.StatusServiceUnavailable, "not ready:\n  "+strings.Join(why, "\n  "))
}

func live(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "live") }

func (s *Server) drain(w http.ResponseWriter, r *http.Request) {
	answer(w, http.StatusOK, "draining")
	s.shutdown.Do(func() {
		s.o.Log.Info("shutdown requested on the admin port", "peer", r.RemoteAddr)
		s.o.Shutdown()
	})
}

func (s *Server) level(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, strings.ToLower(s.o.Level.Level().String()))
}

func (s *Server) setLevel(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		answer(w, http.StatusRequestEntityTooLarge, "the body must be the name of a level")
		return
	}
	level, ok := levelOf(strings.TrimSpace(string(body)))
	if !ok {
		answer(w, http.StatusBadRequest, fmt.Sprintf("unknown level %q: send debug, info, warn or error", body))
		return
	}
	s.o.Level.Set(level)
	s.o.Log.Info("log level changed on the admin port", "level", level, "peer", r.RemoteAddr)
	s.level(w, r)
}

// levelOf takes the four names only: slog's own parser also takes "info+3".
func levelOf(name string) (slog.Level, bool) {
	for _, l := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
		if strings.EqualFold(name, l.String()) {
			return l, true
		}
	}
	return 0, false
}

// ownPodOnly lets loopback peers through: the pod's own containers, kubectl exec and kubectl port-forward. The inbound
// proxy never dials loopback, nor this port, for a caller.
func ownPodOnly(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err == nil && peer.Addr().Unmap().IsLoopback() {
			h(w, r)
			return
		}
		answer(w, http.StatusForbidden, r.URL.Path+" answers loopback only: run "+
			"`kubectl port-forward POD 4191` and call it on 127.0.0.1:4191, or call it from a container of the pod")
	}
}

func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	io.WriteString(w, text+"\n")
}
