package app

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// shop is the whole application without a mesh.
func shop(t *testing.T) string {
	t.Helper()
	start := func(h http.Handler) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	return start(Web(start(Checkout(Suppliers{Inventory: start(Inventory()),
		Payments: start(Payments("v2")), Delivery: start(Delivery(false))}))))
}

func do(t *testing.T, method, url, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

func TestShop(t *testing.T) {
	url := shop(t)
	cases := []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/", "", 200, "Welcome"},
		{"POST", "/cart", "apples", 200, "cart: apples"},
		{"POST", "/pay", "money", 200, "paid, says v2"},
		{"GET", "/delivery", "", 200, "tomorrow"},
		{"GET", "/search", "", 200, "nothing"},
		{"GET", "/coupon", "", 200, "percent"},
		{"GET", "/broken", "", 500, "broken"},
		{"GET", "/nowhere", "", 404, "not found"},
	}
	for _, c := range cases {
		resp, text := do(t, c.method, url+c.path, c.body)
		if resp.StatusCode != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s %s: %s %q, want %d with %q",
				c.method, c.path, resp.Status, text, c.status, c.want)
		}
		if v := resp.Header.Get(VersionHeader); (v == "v2") != (c.path == "/pay") {
			t.Errorf("%s: version %q", c.path, v)
		}
	}
}

// What a request says of its trace goes on to the services behind, and nothing else does.
func TestTracesGoOn(t *testing.T) {
	got := make(chan http.Header, 1)
	last := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got <- r.Header
	}))
	defer last.Close()
	first := httptest.NewServer(Web(last.URL))
	defer first.Close()
	req, err := http.NewRequest("GET", first.URL+"/stock", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"traceparent", "tracestate", "baggage", "b3", "x-b3-traceid",
		"authorization"} {
		req.Header.Set(name, "of "+name)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	h := <-got
	for _, name := range []string{"traceparent", "tracestate", "baggage", "b3", "x-b3-traceid"} {
		if h.Get(name) != "of "+name {
			t.Errorf("%s goes on as %q", name, h.Get(name))
		}
	}
	if h.Get("authorization") != "" || len(h["X-B3-Spanid"]) > 0 {
		t.Errorf("%v goes on", h)
	}
}

func TestSeen(t *testing.T) {
	s := httptest.NewServer(Payments("v1"))
	defer s.Close()
	for range 3 {
		do(t, "POST", s.URL+"/pay", "money")
	}
	for n := range 2 * maxSeenPaths {
		do(t, "GET", s.URL+"/made-up-"+strings.Repeat("x", n), "")
	}
	_, text := do(t, "GET", s.URL+SeenPath, "")
	if !strings.Contains(text, `"/pay":3`) || strings.Count(text, ":") != maxSeenPaths {
		t.Errorf("seen %s", text)
	}
}

func TestStockFailsThreeInTen(t *testing.T) {
	h, failed := Inventory(), 0
	const requests = 20_000
	for range requests {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/stock", nil))
		if w.Code == http.StatusServiceUnavailable {
			failed++
		}
	}
	// six standard deviations
	if share := float64(failed) / requests; share < 0.28 || share > 0.32 {
		t.Errorf("failed %.3f of the requests, want 0.30", share)
	}
}

// A request that has begun is answered although the service is told to end.
func TestServeEndsGracefully(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	begun, finish := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	served := make(chan error, 1)
	go func() {
		served <- Serve(ctx, addr, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(begun)
			<-finish
			io.WriteString(w, "done")
		}))
	}()
	answer := make(chan string, 1)
	go func() {
		for { // until it listens
			resp, err := http.Get("http://" + addr)
			if err != nil {
				continue
			}
			text, _ := io.ReadAll(resp.Body)
			answer <- string(text)
			return
		}
	}()
	<-begun
	cancel()
	close(finish)
	if got := <-answer; got != "done" {
		t.Errorf("the request got %q", got)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestLegacyPutsTheMarkerIntoBodies(t *testing.T) {
	bodies := make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		select {
		case bodies <- string(text):
		default:
		}
	}))
	defer s.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	ended := make(chan error, 1)
	go func() { ended <- Legacy(ctx, s.URL) }()
	if got := <-bodies; got != Marker {
		t.Errorf("body %q", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := Legacy(ctx, ""); err == nil {
		t.Error("without CHECKOUT_URL it has nobody to call, and says nothing")
	}
}
