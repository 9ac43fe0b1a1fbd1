package viz

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/viz/api"
)

// guarded is a viz at which taps need a session.
func guarded(sessions ...Session) *Server {
	v := New(Config{Log: slog.New(slog.DiscardHandler), TapSessions: true})
	v.SetSessions(sessions)
	return v
}

// sessionFor has the namespace for its nonce, and "all" for everything.
func sessionFor(namespace string) Session {
	nonce := namespace
	if namespace == "" {
		nonce = "all"
	}
	return Session{Namespace: namespace, Name: "tap-" + nonce, UID: "u-" + nonce,
		Hash: sha256.Sum256([]byte(nonce))}
}

// tapsOnce asks viz for a tap, and waits for its end.
func tapsOnce(ctx context.Context, v *Server, query, nonce string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet,
		"http://127.0.0.1/api/tap?stream=1&"+query, nil)
	r.Header.Set(names.TapNonceHeader, nonce)
	w := httptest.NewRecorder()
	v.Handler().ServeHTTP(w, r)
	return w
}

// One side of each request that is watched must be in the session's namespace.
func TestATapIsOfItsSessionsNamespace(t *testing.T) {
	const between = "from=deploy/web&fromNamespace=shop&to=deploy/bank&toNamespace=bank"
	for _, tt := range []struct{ query, nonce, refusal string }{
		{"namespace=shop", "shop", ""},
		{"namespace=shop&resource=deploy/web", "shop", ""},
		{"resource=ns/shop", "shop", ""},
		{"", "shop", ""}, // and is confined to it
		{"from=ns/shop", "shop", ""},
		{"to=svc/web&toNamespace=shop", "shop", ""},
		{"resource=deploy/web&to=svc/x", "shop", ""},
		{between, "shop", ""}, {between, "bank", ""}, {between, "all", ""}, {"", "all", ""},
		{"namespace=bank", "all", ""},
		{"namespace=bank", "shop", "create tapsessions in namespace bank"},
		{"namespace=shop&from=deploy/x&fromNamespace=mint", "bank", "in namespace mint or shop"},
		{"from=deploy/web&to=deploy/x", "shop", "create clustertapsessions in the cluster"},
		{"namespace=shop", "", "create tapsessions in namespace shop"},
		{"", "", "create clustertapsessions in the cluster"},
		{"namespace=shop", strings.Repeat("x", maxNonce+1), "has ended, or is not known"},
	} {
		synctest.Test(t, func(t *testing.T) {
			v := guarded(sessionFor("shop"), sessionFor("bank"), sessionFor(""))
			w := tapsOnce(t.Context(), v, tt.query+"&duration=1ms", tt.nonce)
			var said Failure
			if tt.refusal == "" {
				if w.Code != http.StatusOK {
					t.Errorf("%q with %q: %d %s", tt.query, tt.nonce, w.Code, w.Body)
				}
				return
			}
			err := json.Unmarshal(w.Body.Bytes(), &said)
			if err != nil || w.Code != http.StatusForbidden || !said.NeedsSession ||
				!strings.Contains(said.Error, tt.refusal) {
				t.Errorf("%q with %q: %d %s, want %q", tt.query, tt.nonce, w.Code, w.Body,
					tt.refusal)
			}
		})
	}
}

// What names no namespace shows its session's, and nothing else.
func TestATapShowsItsSessionsNamespaceAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := guarded(sessionFor("shop"))
		var w *httptest.ResponseRecorder
		var tap sync.WaitGroup
		tap.Go(func() { w = tapsOnce(t.Context(), v, "limit=2", "shop") })
		synctest.Wait()
		for path, sides := range map[string][2]string{
			"/other": {"bank", "mint"}, "/sent": {"shop", "mint"}, "/got": {"bank", "shop"},
		} {
			v.hub.deliver(&TapRecord{Direction: "outbound", Path: path, ClientNamespace: sides[0],
				ServerNamespace: sides[1]}, []uint32{1})
		}
		tap.Wait()
		if text := w.Body.String(); strings.Contains(text, "/other") ||
			!strings.Contains(text, "/sent") || !strings.Contains(text, "/got") {
			t.Errorf("it shows %s", text)
		}
	})
}

// A session that has just been made takes a moment to be known.
func TestASessionIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := guarded()
		time.AfterFunc(sessionWait/2, func() { v.SetSessions([]Session{sessionFor("shop")}) })
		w := tapsOnce(t.Context(), v, "namespace=shop&duration=1ms", "shop")
		if w.Code != http.StatusOK {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		began := time.Now()
		w = tapsOnce(t.Context(), v, "namespace=shop", "made up")
		if took := time.Since(began); w.Code != http.StatusForbidden || took != sessionWait {
			t.Errorf("after %s: %d %s", took, w.Code, w.Body)
		}
	})
}

// Who makes nonces up has so many places to wait in, and no more.
func TestThoseWhoWaitForSessionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := guarded(sessionFor("shop"))
		var all sync.WaitGroup
		for range maxSessionWaits {
			all.Go(func() { tapsOnce(t.Context(), v, "", "made up") })
		}
		synctest.Wait()
		began := time.Now()
		bad := tapsOnce(t.Context(), v, "", "made up")
		if bad.Code != http.StatusForbidden || time.Since(began) != 0 {
			t.Errorf("one more waits for %s: %d", time.Since(began), bad.Code)
		}
		good := tapsOnce(t.Context(), v, "duration=1ms", "shop")
		if good.Code != http.StatusOK {
			t.Errorf("who has a session: %d %s", good.Code, good.Body)
		}
		all.Wait()
	})
}

func TestATapEndsWithItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := guarded(sessionFor("shop"), sessionFor("bank"))
		var w *httptest.ResponseRecorder
		var tap sync.WaitGroup
		tap.Go(func() { w = tapsOnce(t.Context(), v, "", "shop") })
		synctest.Wait()
		v.SetSessions([]Session{sessionFor("shop")}) // another's end is no matter
		synctest.Wait()
		if n := len(v.hub.taps); n != 1 {
			t.Errorf("%d taps are left", n)
		}
		v.SetSessions(nil)
		tap.Wait()
		if text := w.Body.String(); !strings.Contains(text, sessionEnded) {
			t.Errorf("it ends with %s", text)
		}
	})
}

// Whoever may read a session may make another with its hash, and must not take its place.
func TestOfTwoSessionsWithOneHashTheFirstCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		forged := sessionFor("shop")
		forged.Namespace = "evil"
		v := guarded(sessionFor("shop"), forged)
		if w := tapsOnce(t.Context(), v, "namespace=shop&duration=1ms", "shop"); w.Code != 200 {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// There is no tap of which nothing is written down.
func TestATapIsWrittenDownBeforeItBegins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := guarded(sessionFor("shop"))
		var told []Tapping
		var answer error
		v.cfg.Tapped = func(_ context.Context, one Tapping) error {
			told = append(told, one)
			return answer
		}
		const query = "resource=deploy/web&namespace=shop&status=5xx&duration=1ms&maxRps=7"
		if w := tapsOnce(t.Context(), v, query, "shop"); w.Code != http.StatusOK {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		want := Tapping{Session: sessionFor("shop"), Kind: "deployment", Name: "web",
			Namespace: "shop", Conditions: "namespace=shop resource=deploy/web status=500-599"}
		if len(told) != 1 || told[0] != want {
			t.Errorf("told %+v, want %+v", told, want)
		}
		answer = errors.New("the API server is away")
		w := tapsOnce(t.Context(), v, query, "shop")
		if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "away") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
		if n := len(v.hub.taps); n != 0 {
			t.Errorf("%d taps are left", n)
		}
		// An object of another namespace is not written about by leave for this one.
		const between = "from=deploy/a&fromNamespace=bank&to=ns/shop&duration=1ms"
		tapsOnce(t.Context(), v, between, "shop")
		if last := told[len(told)-1]; last.Name != "" {
			t.Errorf("told %+v", last)
		}
	})
}

// What a tap alone makes proxies tell is for its asker.
func TestWhatATapShowsIsKeptForNobodyElse(t *testing.T) {
	for _, needed := range []bool{true, false} {
		v := New(Config{Log: slog.New(slog.DiscardHandler), TapSessions: needed})
		one := &watched{who: testReporter, ctx: t.Context(), counts: map[uint32]uint64{}}
		now := time.UnixMicro(1_800_000_000_000_000)
		shown, hopped, failed := sentRecord(0, 1), gotRecord(7), sentRecord(8, 1)
		failed.Failed = true
		ours := introduction("web", "web-1")
		for _, r := range []*api.Record{shown, hopped, failed} {
			r.Labels.OwnId = testReporter.id
		}
		ours.Records = []*api.Record{shown, hopped, failed}
		if err := v.takeRecords(now, one, ours); err != nil {
			t.Fatal(err)
		}
		want := 3
		if needed {
			want = 1
		}
		if kept := v.records.latest(); len(kept) != want {
			t.Errorf("with sessions %v %d are kept, want %d", needed, len(kept), want)
		}
	}
}

// The whole way: a client, a socket, two proxies.
func TestATapByASession(t *testing.T) {
	r := startVizOf(t, newTestCA(t), Config{TapSessions: true})
	web := r.shows("web", "web-1")
	web.send(introduction("web", "web-1"))
	err := r.client.Tap(t.Context(), &TapQuery{}, func(TapLine) error { return nil })
	if !errors.Is(err, ErrSession) {
		t.Errorf("without one: %v", err)
	}
	r.server.SetSessions([]Session{sessionFor("shop")})
	heard := r.taps(t.Context(), TapQuery{Nonce: "shop"})
	id := web.taps(1)[0].Id
	web.send(&api.RecordsRequest{Records: []*api.Record{sentRecord(0, id)}})
	heard.await(t, "the request", func(l TapLine) bool { return l.Record != nil })
	r.server.SetSessions(nil)
	heard.await(t, "the end", func(l TapLine) bool { return l.Counts.Ended == sessionEnded })
	web.taps(0)
}
