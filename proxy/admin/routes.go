package admin

import (
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// route is what a path answers to one method.
type route struct {
	method, path string
	ownPod       bool // from loopback only
	body         bool // waits for the request's body
	answer       func(*Server, *request)
}

// Page is what only the pod itself is shown, made anew for each who asks.
type Page struct {
	Path, Type string
	// Write makes the page, piece by piece, on a goroutine of its own, until send reports that
	// nobody takes it any more.
	Write func(send func([]byte) bool)
}

func (p Page) route() route {
	return route{method: "GET", path: p.Path, ownPod: true, answer: func(s *Server, x *request) {
		if !x.forLoopback() {
			x.text(403, "ask by a loopback address")
			return
		}
		s.serve(x, p.Type, p.Write)
	}}
}

// forLoopback reports whether the request names a loopback host. A page in somebody's browser, led
// here by a name that it controls (DNS rebinding), names that.
func (x *request) forLoopback() bool {
	host := x.fields[":authority"]
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.IsLoopback()
}

var routes = []route{
	{method: "GET", path: "/ready", answer: (*Server).ready},
	{method: "GET", path: "/live", answer: (*Server).live},
	{method: "GET", path: "/metrics", answer: (*Server).metrics},
	{method: "POST", path: "/shutdown", ownPod: true, answer: (*Server).drain},
	{method: "GET", path: "/log-level", ownPod: true, answer: (*Server).level},
	{method: "PUT", path: "/log-level", ownPod: true, body: true, answer: (*Server).setLevel},
}

// find is the route of a request. If there is none, allowed are the methods that its path takes;
// nil if the path is not known.
func (x *request) find() (found *route, allowed []string) {
	method := x.method
	if method == "HEAD" {
		method = "GET"
	}
	all := x.c.s.routes
	for i := range all {
		r := &all[i]
		if r.path != x.path {
			continue
		}
		if r.method == method {
			return r, nil
		}
		if allowed = append(allowed, r.method); r.method == "GET" {
			allowed = append(allowed, "HEAD")
		}
	}
	return nil, allowed
}

func (x *request) wantsBody() bool {
	r, _ := x.find()
	return r != nil && r.body && !x.crossOrigin() && (!r.ownPod || x.c.loopback)
}

// complete answers a request once as much of it is here as its route needs.
func (x *request) complete() {
	if x.begun {
		return
	}
	x.begun = true
	r, allowed := x.find()
	switch {
	case x.crossOrigin():
		x.text(403, "a page of another origin may not ask for this")
	case r == nil && allowed == nil:
		x.text(404, "nothing is here: see /ready, /live, /metrics, /shutdown and /log-level")
	case r == nil:
		allow := hpack.HeaderField{Name: "allow", Value: strings.Join(allowed, ", ")}
		x.answer(405, textPlain, []byte(x.path+" takes "+allow.Value+"\n"), allow)
	case r.ownPod && !x.c.loopback:
		x.text(403, x.path+" answers loopback only: run `kubectl port-forward POD 4191` and call "+
			"it on 127.0.0.1:4191, or call it from a container of the pod")
	default:
		r.answer(x.c.s, x)
	}
}

func (s *Server) ready(x *request) {
	why := s.o.Unready()
	if len(why) == 0 {
		x.text(200, "ready")
		return
	}
	x.text(503, "not ready:\n  "+strings.Join(why, "\n  "))
}

func (s *Server) live(x *request) { x.text(200, "live") }

func (s *Server) drain(x *request) {
	x.text(200, "draining")
	s.shutdown.Do(func() {
		s.o.Log.Info("shutdown requested on the admin port", "peer", x.c.peer)
		s.o.Shutdown()
	})
}

func (s *Server) metrics(x *request) {
	s.serve(x, metric.ContentType, func(send func([]byte) bool) {
		t := metric.NewText(send)
		s.writePage(t)
		t.Flush()
	})
}

// serve makes a page on a goroutine of its own, because the reader shares its goroutine with other
// connections. A page is under way until it has left. So slow scrapers hold a piece of the page
// each, and are at most maxScrapes.
func (s *Server) serve(x *request, contentType string, write func(send func([]byte) bool)) {
	if s.scrapes.Add(1) > maxScrapes {
		s.scrapes.Add(-1)
		x.text(503, "two scrapes are under way, which is the most: try again later")
		return
	}
	x.atEnd(func() { s.scrapes.Add(-1) })
	s.tasks.Add(1) // the connection has one, so this is not the first
	go func() {
		defer s.tasks.Done()
		x.head(200, contentType, -1)
		write(x.send)
		x.end()
	}()
}

// writePage writes everything for Prometheus.
func (s *Server) writePage(t *metric.Text) {
	s.o.Registry.WriteText(t, s.o.Version)
	s.writeProcess(t)
	writeRuntime(t)
}
