package viz

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestQuestionsThatMakeNoSense(t *testing.T) {
	h := New(Config{Log: slog.New(slog.DiscardHandler)}).Handler()
	for _, c := range []struct {
		method, host, url string
		code              int
		why               string
	}{
		{"GET", "127.0.0.1:8085", "/api/stat?resource=deploy", 200, ""},
		{"GET", "localhost:8085", "/api/stat?resource=deploy/web", 200, ""},
		{"GET", "[::1]:8085", "/api/edges", 200, ""},
		{"GET", "LOCALHOST", "/healthz", 200, ""},
		{"HEAD", "127.0.0.1", "/api/top", 200, ""},
		{"GET", "evil.example:8085", "/api/stat?resource=deploy", 403, "is not loopback"},
		{"GET", "127.0.0.1.evil.example", "/api/edges", 403, "is not loopback"},
		{"GET", "10.0.0.1:8085", "/healthz", 403, "is not loopback"},
		{"POST", "127.0.0.1:8085", "/api/stat?resource=deploy", 405, "only answers"},
		{"DELETE", "127.0.0.1:8085", "/api/edges", 405, "only answers"},
		{"GET", "127.0.0.1", "/api/stat", 400, "resource is missing"},
		{"GET", "127.0.0.1", "/api/stat?resource=house", 400, "no kind of resource"},
		{"GET", "127.0.0.1", "/api/stat?resource=deploy/a/b", 400, "write KIND or KIND/NAME"},
		{"GET", "127.0.0.1", "/api/stat?resource=deploy&from=deploy/a&to=svc/b", 400,
			"exclude each other"},
		{"GET", "127.0.0.1", "/api/stat?resource=svc/a&to=svc/b", 400, "a service sends nothing"},
		{"GET", "127.0.0.1", "/api/stat?resource=deploy&from=svc/b", 400,
			"a service sends nothing"},
		{"GET", "127.0.0.1", "/api/stat?resource=deploy&window=soon", 400, "is no duration"},
		{"GET", "127.0.0.1", "/api/stat?resource=deploy&window=1s", 400, "window is 1s"},
		{"GET", "127.0.0.1", "/api/stat?resource=deploy&window=25h", 400, "window is 25h"},
		{"GET", "127.0.0.1", "/api/edges?ago=-1m", 400, "ago is -1m"},
		{"GET", "127.0.0.1", "/api/routes?from=x", 400, "no kind of resource"},
		{"GET", "127.0.0.1", "/api/top?group=colour", 400, "group is"},
		{"GET", "127.0.0.1", "/api/top?stream=1&interval=1ns", 400, "interval is 1ns"},
		{"GET", "127.0.0.1", "/secret", 404, ""},
	} {
		r := httptest.NewRequest(c.method, c.url, nil)
		r.Host = c.host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.why) {
			t.Errorf("%s %s at %s: %d %s; want %d %q", c.method, c.url, c.host, w.Code, w.Body,
				c.code, c.why)
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" ||
			w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s %s: headers are %v", c.method, c.url, w.Header())
		}
	}
}

func TestQuestionsOnLoopbackOnly(t *testing.T) {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	ca := newTestCA(t)
	v := New(Config{Source: ca.source("tulle", "tulle-viz", "viz-0", time.Hour),
		TrustDomain: testDomain, Log: slog.New(slog.DiscardHandler)})
	if err := v.Serve(context.Background(), listen(t), l); err == nil ||
		!strings.Contains(err.Error(), "on loopback only") {
		t.Errorf("Serve ended with %v", err)
	}
}

func TestStreamedAnswers(t *testing.T) {
	ca := newTestCA(t)
	r := startViz(t, ca)
	p := r.dial(ca.source("shop", "web", "web-1", time.Hour))
	p.mustSend(webReport(time.Second, 10))
	for accept, prefix := range map[string]string{"": "", "text/event-stream": "data: "} {
		request, _ := http.NewRequest("GET",
			"http://"+r.client.addr+"/api/top?stream=1&interval=250ms", nil)
		request.Header.Set("Accept", accept)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(io.LimitReader(response.Body, 1<<20))
		for n := 0; n < 3 && lines.Scan(); {
			text, ok := strings.CutPrefix(lines.Text(), prefix)
			if !ok {
				continue // the empty line after an event
			}
			var top Top
			err := json.Unmarshal([]byte(text), &top)
			if err != nil || len(top.Rows) != 1 || top.Rows[0].Requests != 10 {
				t.Errorf("%q: %v", text, err)
			}
			n++
		}
		response.Body.Close()
	}
}

func TestClientErrors(t *testing.T) {
	ca := newTestCA(t)
	r := startViz(t, ca)
	_, err := r.client.Stat(t.Context(), Query{Resource: "house"})
	if err == nil || !strings.Contains(err.Error(), "viz refused the question for stat") ||
		!strings.Contains(err.Error(), "no kind") {
		t.Errorf("a bad question: %v", err)
	}
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	if _, err := NewClient(other.Listener.Addr().String()).Top(t.Context(), Query{}); err == nil ||
		!strings.Contains(err.Error(), "is this viz's address?") {
		t.Errorf("another server: %v", err)
	}
	r.stop()
	if _, err := r.client.Edges(t.Context(), Query{}); err == nil ||
		strings.Contains(err.Error(), "http://") {
		t.Errorf("nobody there: %v", err)
	}
}

func TestMetricsOfViz(t *testing.T) {
	v := New(Config{})
	m := &mesh{t, v.store, time.Now()}
	m.pod("shop", "web", "web-1").report(inbound(1, 1, 0, ""))
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(v)
	families, err := registry.Gather()
	if err != nil || len(families) != 7 {
		t.Errorf("%d metrics, %v", len(families), err)
	}
	for _, f := range families {
		if f.GetName() == "tulle_viz_series_bytes" && f.Metric[0].GetGauge().GetValue() == 0 {
			t.Error("a series costs nothing")
		}
	}
}
