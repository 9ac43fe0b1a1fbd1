package load

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/tulle-mesh/tulle/test/demo/app"
)

func generator(t *testing.T, h http.HandlerFunc) *Generator {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return New(s.URL, slog.New(slog.DiscardHandler))
}

// Each request is counted once, as what it was, at both ends.
func TestRunCounts(t *testing.T) {
	var n, marked atomic.Int64
	g := generator(t, func(w http.ResponseWriter, r *http.Request) {
		if text, _ := io.ReadAll(r.Body); string(text) == app.Marker {
			marked.Add(1)
		}
		switch k := n.Add(1); {
		case k%10 == 0:
			w.WriteHeader(503)
		case k%10 == 1:
			panic(http.ErrAbortHandler) // no answer
		default:
			w.Header().Set(app.VersionHeader, "v1")
		}
	})
	s := httptest.NewServer(g.Handler())
	defer s.Close()
	client := Client{s.URL}
	got, err := client.Run(t.Context(), Run{Path: "/pay", Post: true, Requests: 200, Workers: 8})
	if err != nil {
		t.Fatal(err)
	}
	if n.Load() != 200 || marked.Load() != 200 {
		t.Errorf("the server saw %d requests, %d with the marker", n.Load(), marked.Load())
	}
	noAnswer := 0
	for _, count := range got.Errors {
		noAnswer += count
	}
	if got.Requests != 200 || got.OK != 160 || got.Failed() != 40 || got.Statuses[503] != 20 ||
		noAnswer != 20 || got.Versions["v1"] != 160 {
		t.Errorf("counted %+v", got)
	}
	if got.MinMs <= 0 || got.MaxMs < got.MinMs || got.ElapsedMs < got.MaxMs ||
		got.LastStart["v1"].IsZero() {
		t.Errorf("times %+v", got)
	}
	if total, err := client.Total(t.Context()); err != nil || total.Requests != 200 {
		t.Errorf("total %+v, %v", total, err)
	}
}

func TestRunRefuses(t *testing.T) {
	g := generator(t, func(http.ResponseWriter, *http.Request) { t.Error("it sent something") })
	s := httptest.NewServer(g.Handler())
	defer s.Close()
	for _, r := range []Run{
		{Path: "x", Requests: 1, Workers: 1}, {Path: "/", Workers: 1},
		{Path: "/", Requests: maxRequests + 1, Workers: 1},
		{Path: "/", Requests: 1}, {Path: "/", Requests: 1, Workers: maxWorkers + 1},
		{Path: "/", Requests: 1, Workers: 1, Rate: -1},
		{Path: "/", Requests: 1, Workers: 1, Rate: MaxRate + 1},
	} {
		_, err := Client{s.URL}.Run(t.Context(), r)
		if err == nil || !strings.Contains(err.Error(), "must") {
			t.Errorf("%+v: %v", r, err)
		}
	}
	for _, body := range []string{"", "{", `{"paths": "/"}`, `{"requests": "1"}`} {
		resp, err := http.Post(s.URL+"/run", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("run %q: %s", body, resp.Status)
		}
	}
}

// The background counts what it sent exactly, also when it is ended.
func TestBackground(t *testing.T) {
	var n atomic.Int64
	enough := make(chan struct{})
	g := generator(t, func(http.ResponseWriter, *http.Request) {
		if n.Add(1) == 40 {
			close(enough)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); g.Background(ctx, 1000) }()
	<-enough
	cancel()
	<-done
	if got := int64(g.Total().Requests); got != n.Load() {
		t.Errorf("counted %d, the server %d", got, n.Load())
	}
}
