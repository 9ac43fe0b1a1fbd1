package viz

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/viz/gate"
	"github.com/tulle-mesh/tulle/viz/web"
)

// Bounds of the asking side.
const (
	queryTimeout = 10 * time.Second
	minInterval  = 250 * time.Millisecond
	maxInterval  = time.Minute
)

// serveQueries answers questions until the context ends.
func (v *Server) serveQueries(ctx context.Context, l net.Listener) error {
	if err := checkLoopback(l.Addr()); err != nil {
		return errors.Join(err, l.Close())
	}
	server := serve.NewHTTP(v.Handler())
	server.WriteTimeout = queryTimeout
	server.BaseContext = func(net.Listener) context.Context { return ctx }
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer cancel()
		if server.Shutdown(grace) != nil {
			server.Close()
		}
	}()
	if err := server.Serve(serve.Bound("queries", l, serve.LoopbackLimits(),
		v.cfg.Metrics)); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve questions: %w", err)
	}
	<-stopped
	return nil
}

// checkLoopback refuses to answer anybody but this pod: whoever may forward a port to it may ask,
// and RBAC says who that is.
func checkLoopback(a net.Addr) error {
	addr, err := netip.ParseAddrPort(a.String())
	if err != nil || !addr.Addr().IsLoopback() {
		return fmt.Errorf("questions are answered on loopback only, not on %s", a)
	}
	return nil
}

// Handler answers the query API, and has the page's files. It only reads, and only for requests
// that name a loopback host and come from no browser: those come through a gate (package gate).
func (v *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET "+serve.StacksPath, serve.Stacks)
	mux.HandleFunc("GET /api/stat", answer(v, parseQuery, v.store.stat))
	mux.HandleFunc("GET /api/edges", answer(v, parseQuery, v.store.edges))
	mux.HandleFunc("GET /api/routes", answer(v, parseQuery, v.store.routes))
	mux.HandleFunc("GET /api/backends", answer(v, parseQuery, v.store.backends))
	mux.HandleFunc("GET /api/top", answer(v, parseQuery, v.store.top))
	mux.HandleFunc("GET /api/traces", answer(v, once(parseTraceQuery), v.traceList))
	mux.HandleFunc("GET /api/traces/{id}", answer(v, parsePathID, v.traceTree))
	mux.HandleFunc("GET /api/requests", answer(v, once(parseRequestQuery), v.requestList))
	mux.HandleFunc("GET /api/why", answer(v, once(parseID), v.why))
	mux.HandleFunc("GET /api/propagation", answer(v, once(parseNothing), v.propagation))
	mux.HandleFunc("GET /api/endpoints", answer(v, once(parseEndpoints), v.endpoints))
	mux.HandleFunc("GET /api/proxies", answer(v, parseQuery, v.store.reporting))
	mux.HandleFunc("GET /api/graph", answer(v, parseQuery, v.graph))
	mux.HandleFunc("GET /api/series", answer(v, parseQuery, v.store.course))
	mux.HandleFunc("GET /api/slo", answer(v, parseQuery, v.store.slo))
	mux.Handle("GET /", web.Handler())
	all := http.NewServeMux()
	tap := http.HandlerFunc(v.tap)
	all.Handle("GET /api/tap", limited(maxTapAskers, "taps or askers for one", tap))
	all.Handle("/", inTurn(mux))
	return localOnly(all)
}

// localOnly stops DNS rebinding: a web page that points its own name at 127.0.0.1 sends that name
// as the host. And it stops browsers, which any web page can make ask.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		if !gate.Loopback(r.Host) {
			fail(w, http.StatusForbidden, fmt.Errorf(
				"host %q is not loopback: use 127.0.0.1 or localhost", r.Host))
			return
		}
		if gate.FromBrowser(r) {
			fail(w, http.StatusForbidden, errors.New(
				"viz answers no browser: 'meshctl dashboard' prints the page's address"))
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			fail(w, http.StatusMethodNotAllowed,
				fmt.Errorf("%s: viz only answers questions", r.Method))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// answer makes a handler of a question, which parse reads, with how often it is to be answered: 0
// is once. Otherwise the answer comes again and again, a line of JSON each, or as server-sent
// events where those are asked for.
func answer[Q comparable, T any](
	v *Server, parse func(*http.Request) (Q, time.Duration, error),
	ask func(time.Time, Q) (*T, error),
) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q, interval, err := parse(r)
		next := func() ([]byte, error) { return answerLine(v, r.URL.Path, q, ask) }
		var first []byte
		if err == nil {
			first, err = next()
		}
		if err != nil {
			fail(w, statusOf(err), err)
			return
		}
		if interval > 0 {
			repeat(newLines(w, r), interval, first, next)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, "%s\n", first) // an error means that the asker has gone
	}
}

// once is for questions that are answered once, whatever parameters say.
func once[Q any](
	parse func(url.Values) (Q, error),
) func(*http.Request) (Q, time.Duration, error) {
	return func(r *http.Request) (Q, time.Duration, error) {
		q, err := parse(r.URL.Query())
		return q, 0, err
	}
}

func statusOf(err error) int {
	if errors.Is(err, errUnknown) {
		return http.StatusNotFound
	}
	if errors.Is(err, errQuery) {
		return http.StatusBadRequest
	}
	if errors.Is(err, errBusy) {
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

func fail(w http.ResponseWriter, code int, err error) {
	failWith(w, code, Failure{Error: err.Error()})
}

func failWith(w http.ResponseWriter, code int, f Failure) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(f) // an error means that the asker has gone
}

func repeat(out *lines, every time.Duration, now []byte, next func() ([]byte, error)) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		if out.put(now) != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-out.gone:
			return
		}
		var err error
		if now, err = next(); err != nil {
			return
		}
	}
}

// The parameters of a question.
const (
	paramResource      = "resource"
	paramName          = "name"
	paramNamespace     = "namespace"
	paramAll           = "all"
	paramFrom          = "from"
	paramFromNamespace = "fromNamespace"
	paramTo            = "to"
	paramToNamespace   = "toNamespace"
	paramRoute         = "route"
	paramGroup         = "group"
	paramWindow        = "window"
	paramAgo           = "ago"
	paramStream        = "stream"
	paramInterval      = "interval"
	paramID            = "id"
	paramOpen          = "open"
	paramFilter        = "filter"
	paramStep          = "step"
	paramMost          = "most"
)

// parseQuery reads a question, and how often it is to be answered: 0 is once.
func parseQuery(r *http.Request) (Query, time.Duration, error) {
	p := r.URL.Query()
	q := Query{
		Resource: p.Get(paramResource), Name: p.Get(paramName),
		Namespace: p.Get(paramNamespace), From: p.Get(paramFrom),
		FromNamespace: p.Get(paramFromNamespace),
		To:            p.Get(paramTo), ToNamespace: p.Get(paramToNamespace),
		Route: p.Get(paramRoute),
		Group: p.Get(paramGroup), Filter: p.Get(paramFilter), Open: p.Get(paramOpen),
	}
	if isSet(p.Get(paramAll)) {
		q.Namespace = ""
	}
	var err error
	if q.Window, err = parseDuration(p, paramWindow, MinWindow, historyLength); err != nil {
		return q, 0, err
	}
	if q.Ago, err = parseDuration(p, paramAgo, 0, historyLength); err != nil {
		return q, 0, err
	}
	if q.Most, err = parseMost(p.Get(paramMost)); err != nil {
		return q, 0, err
	}
	if q.Step, err = parseDuration(p, paramStep, slotLength, historyLength); err != nil {
		return q, 0, err
	}
	if !isSet(p.Get(paramStream)) {
		return q, 0, nil
	}
	interval, err := parseDuration(p, paramInterval, minInterval, maxInterval)
	if interval == 0 {
		interval = time.Second
	}
	return q, interval, err
}

// parseID reads what is asked about by its ID, parsePathID the same of the path.
func parseID(p url.Values) (string, error) { return p.Get(paramID), nil }

func parsePathID(r *http.Request) (string, time.Duration, error) {
	return r.PathValue(paramID), 0, nil
}

// parseNothing is for a question that says all by itself.
func parseNothing(url.Values) (struct{}, error) { return struct{}{}, nil }

func parseMost(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > maxListNodes {
		return 0, fmt.Errorf("%w: most=%q: use 1 to %d", errQuery, text, maxListNodes)
	}
	return n, nil
}

func isSet(v string) bool { return v == "1" || v == "true" }

func parseDuration(p url.Values, name string, least, most time.Duration) (time.Duration, error) {
	text := p.Get(name)
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%w: %s=%q is no duration: for example 1m", errQuery, name, text)
	}
	if d < least || d > most {
		return 0, fmt.Errorf("%w: %s is %s: use %s to %s", errQuery, name, d, least, most)
	}
	return d, nil
}
