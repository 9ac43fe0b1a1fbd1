package admin

import (
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A level that is set for a while falls back by itself, to what it was before the first of several.
// Somebody else's word in between counts.
func TestALevelPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		level := new(slog.LevelVar)
		s := New(Options{Level: level})
		is := func(want string) {
			t.Helper()
			synctest.Wait()
			if got := s.levelText(); got != want {
				t.Errorf("level %q, want %q", got, want)
			}
		}
		s.pass(slog.LevelDebug, 5*time.Minute)
		is("debug for 5m0s, then info")
		time.Sleep(2 * time.Minute)
		s.pass(slog.LevelWarn, 5*time.Minute)
		time.Sleep(4 * time.Minute)
		is("warn for 1m0s, then info")
		time.Sleep(time.Minute)
		is("info")
		s.pass(slog.LevelDebug, time.Minute)
		level.Set(slog.LevelError) // destination's
		time.Sleep(time.Minute)
		is("error")
		s.pass(slog.LevelDebug, time.Minute)
		s.pass(slog.LevelWarn, 0)
		time.Sleep(time.Hour)
		is("warn")
		s.pass(slog.LevelDebug, time.Hour)
		s.endPassing()
	})
}

func TestALevelForAWhileOverHTTP(t *testing.T) {
	r := newRig(t, "127.0.0.1:0")
	for body, want := range map[string]string{
		"debug 5m": "debug for 5m0s, then info", "debug 0s": "'debug 5m'",
		"debug -1m": "'debug 5m'", "debug 25h": "up to 24h", "debug soon": "'debug 5m'",
		"loud 5m": "debug, info, warn or error",
	} {
		if _, text := r.do(t, "PUT", "/log-level", body); !strings.Contains(text, want) {
			t.Errorf("%q: %q, want %q", body, text, want)
		}
	}
	r.do(t, "PUT", "/log-level", "info")
}

// Pages of whoever makes the server are the pod's own to read.
func TestPages(t *testing.T) {
	page := Page{Path: "/debug/x", Type: "text/x", Write: func(send func([]byte) bool) {
		_ = send([]byte("one ")) && send([]byte("two\n"))
	}}
	r, outside := newRig(t, "127.0.0.1:0"), newRig(t, net.JoinHostPort(outsideAddr(t), "0"))
	for _, s := range []*rig{r, outside} {
		s.routes = append(s.routes, page.route())
	}
	if status, text := r.do(t, "GET", "/debug/x", ""); status != 200 || text != "one two\n" {
		t.Errorf("%d %q", status, text)
	}
	req, _ := http.NewRequest("GET", r.base+"/debug/x", nil)
	req.Host = "evil.example:4191"
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 403 {
		t.Errorf("for another host: %d", resp.StatusCode)
	}
	if status, text := outside.do(t, "GET", "/debug/x", ""); status != 403 {
		t.Errorf("from outside: %d %q", status, text)
	}
}
