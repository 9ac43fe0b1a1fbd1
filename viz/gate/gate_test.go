package gate

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const host = "127.0.0.1:8000"

// browser sends requests to a gate as a browser does.
type browser struct {
	t      *testing.T
	gate   *Gate
	cookie *http.Cookie
}

func (b *browser) get(target string, headers ...string) *httptest.ResponseRecorder {
	b.t.Helper()
	r := httptest.NewRequest("GET", target, nil)
	r.Host = host
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	if b.cookie != nil {
		r.AddCookie(b.cookie)
	}
	w := httptest.NewRecorder()
	b.gate.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		b.cookie = c
	}
	return w
}

// mesh stands for viz, and says what it was asked.
func mesh(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "secret figures %s %v", r.URL, FromBrowser(r))
}

func opened(t *testing.T) (*browser, string) {
	t.Helper()
	g := New(http.HandlerFunc(mesh))
	address, err := url.Parse(g.Address(host))
	if err != nil || address.Host != host {
		t.Fatalf("the address is %s, %v", address, err)
	}
	return &browser{t: t, gate: g}, address.RequestURI()
}

func TestTheAddressIsGoodOnce(t *testing.T) {
	b, uri := opened(t)
	w := b.get(uri, "Sec-Fetch-Site", "none")
	if w.Code != 200 || !strings.Contains(w.Body.String(), `url=/"`) || b.cookie == nil {
		t.Fatalf("the address answers %d %s", w.Code, w.Body)
	}
	if c := b.cookie; !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" ||
		c.Domain != "" || c.MaxAge != 0 || len(c.Value) < 40 {
		t.Errorf("the cookie is %+v", c)
	}
	if strings.Contains(w.Body.String(), "secret") {
		t.Error("the exchange tells figures")
	}
	if w := b.get("/api/stat"); w.Code != 200 || !strings.Contains(w.Body.String(), "secret") {
		t.Errorf("with the cookie: %d %s", w.Code, w.Body)
	}
	other := &browser{t: t, gate: b.gate}
	if w := other.get(uri); w.Code != 401 || other.cookie != nil {
		t.Errorf("a used address answers %d, and sets %v", w.Code, other.cookie)
	}
	if w := b.get(uri); w.Code != 200 || strings.Contains(w.Body.String(), "token") {
		t.Errorf("who is in already, and goes to a used address: %d %s", w.Code, w.Body)
	}
}

func TestTheAddressLeadsToWhereItSays(t *testing.T) {
	for path, want := range map[string]string{
		"/graph?group=service&": "/graph?group=service",
		"//evil.example/?":      "/evil.example/",
		"/%5Cevil.example/?":    "/evil.example/",
	} {
		b, uri := opened(t)
		w := b.get(path + strings.TrimPrefix(uri, "/?"))
		if !strings.Contains(w.Body.String(), `url=`+want+`"`) {
			t.Errorf("%s leads to %s", path, w.Body)
		}
	}
}

// Nothing of the mesh is told to whom it must not be.
func TestWhoIsNotLetIn(t *testing.T) {
	b, uri := opened(t)
	stranger := &browser{t: t, gate: b.gate}
	forged := &browser{t: t, gate: b.gate,
		cookie: &http.Cookie{Name: cookieName(host), Value: strings.Repeat("A", 52)}}
	elsewhere := &browser{t: t, gate: New(http.HandlerFunc(mesh))}
	b.get(uri)
	elsewhere.cookie = b.cookie
	for name, c := range map[string]struct {
		who     *browser
		target  string
		headers []string
		code    int
	}{
		"without a cookie":       {stranger, "/api/stat", nil, 401},
		"the page itself":        {stranger, "/", []string{"Accept", "text/html"}, 401},
		"the page's files":       {stranger, "/static/main.js", nil, 401},
		"health":                 {stranger, "/healthz", nil, 401},
		"no token":               {stranger, "/?token=", nil, 401},
		"a wrong token":          {stranger, "/?token=" + strings.Repeat("A", 52), nil, 401},
		"a forged cookie":        {forged, "/api/stat", nil, 401},
		"another gate's cookie":  {elsewhere, "/api/stat", nil, 401},
		"DNS rebinding":          {b, "/api/stat", []string{"Host", "evil.example:8000"}, 403},
		"a name like loopback":   {b, "/", []string{"Host", "127.0.0.1.evil.example"}, 403},
		"another site's fetch":   {b, "/api/stat", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		"another port's fetch":   {b, "/api/stat", []string{"Sec-Fetch-Site", "same-site"}, 403},
		"another origin":         {b, "/api/stat", []string{"Origin", "http://127.0.0.1:9"}, 403},
		"no origin's":            {b, "/api/stat", []string{"Origin", "null"}, 403},
		"another site's frame":   {b, "/", navigation("iframe"), 403},
		"a click without cookie": {stranger, "/", navigation("document"), 401},
	} {
		w := c.who.get(c.target, c.headers...)
		if w.Code != c.code || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: %d %s, want %d", name, w.Code, w.Body, c.code)
		}
		h := w.Header()
		if h.Get("Content-Security-Policy") != Policy || h.Get("Cache-Control") != "no-store" ||
			h.Get("X-Content-Type-Options") != "nosniff" || len(h.Values("Set-Cookie")) > 0 {
			t.Errorf("%s: headers are %v", name, h)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS", "CONNECT"} {
		r := httptest.NewRequest(method, "/api/stat", nil)
		r.Host = host
		r.AddCookie(b.cookie)
		w := httptest.NewRecorder()
		b.gate.ServeHTTP(w, r)
		if w.Code != 405 || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
}

// navigation is what a browser says where another site's page leads it on.
func navigation(to string) []string {
	return []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate",
		"Sec-Fetch-Dest", to}
}

// A click on the address is let in wherever it is shown.
func TestAClickElsewhereIsLetIn(t *testing.T) {
	b, uri := opened(t)
	w := b.get(uri, navigation("document")...)
	if w.Code != 200 || b.cookie == nil {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestSessionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, uri := opened(t)
		b.get(uri)
		for range 3 {
			time.Sleep(sessionIdle - time.Minute)
			if w := b.get("/api/stat"); w.Code != 200 {
				t.Fatalf("a session that is used ended: %d", w.Code)
			}
		}
		time.Sleep(sessionIdle + time.Minute)
		if w := b.get("/api/stat"); w.Code != 401 {
			t.Errorf("a session that nobody used: %d", w.Code)
		}
	})
}

// What is remembered is bounded; the oldest gives way.
func TestTokensAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, first := opened(t)
		last := ""
		for range maxTokens {
			time.Sleep(time.Second)
			last = b.gate.Address(host)
		}
		if w := b.get(first); w.Code != 401 {
			t.Errorf("the oldest of %d addresses: %d", maxTokens+1, w.Code)
		}
		if w := b.get(strings.TrimPrefix(last, "http://"+host)); w.Code != 200 {
			t.Errorf("the newest: %d", w.Code)
		}
	})
}

// The gate goes on to wherever viz is, without what tells of a browser, and streams as viz does.
func TestTheWayToViz(t *testing.T) {
	more := make(chan string)
	viz := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		own := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
		if FromBrowser(r) || r.Host != own.String() {
			t.Errorf("viz hears %s %v", r.Host, r.Header)
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		w.(http.Flusher).Flush()
		for line := range more {
			io.WriteString(w, line+"\n")
			w.(http.Flusher).Flush()
		}
	}))
	defer viz.Close()
	var target atomic.Value
	target.Store("127.0.0.1:1")
	g := New(Proxy(func() string { return target.Load().(string) }, &http.Transport{}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- g.Serve(ctx, l) }()
	session := login(t, g, l.Addr().String())
	if r := session("/api/stat"); r.StatusCode != 502 {
		t.Errorf("without viz: %s", r.Status)
	}
	target.Store(viz.Listener.Addr().String())
	r := session("/api/top")
	lines := bufio.NewScanner(r.Body)
	for _, want := range []string{"one", "two"} {
		more <- want
		if !lines.Scan() || lines.Text() != want {
			t.Errorf("the stream says %q, want %q", lines.Text(), want)
		}
	}
	close(more)
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func login(t *testing.T, g *Gate, addr string) func(string) *http.Response {
	t.Helper()
	r, err := http.Get(g.Address(addr))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	return func(path string) *http.Response {
		t.Helper()
		request, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+addr+path, nil)
		request.AddCookie(r.Cookies()[0])
		request.Header.Set("Sec-Fetch-Site", "same-origin")
		request.Header.Set("Referer", "http://"+addr+"/")
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { answer.Body.Close() })
		return answer
	}
}

func TestThePageIsForThisMachine(t *testing.T) {
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := New(http.NotFoundHandler()).Serve(t.Context(), l); err == nil {
		t.Error("it is served to everybody")
	}
}
