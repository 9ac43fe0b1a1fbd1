package record

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/test/await"
)

// decoded is a line as encoding/json reads it.
func decoded(t testing.TB, line []byte) map[string]any {
	t.Helper()
	m := map[string]any{}
	d := json.NewDecoder(bytes.NewReader(line))
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	if d.More() {
		t.Fatalf("%q is more than one object", line)
	}
	return m
}

func request() *outcome.Record {
	return &outcome.Record{
		Request: outcome.Request{Outcome: outcome.Answered, Failed: true,
			Latency: 12345 * time.Microsecond},
		Labels: metric.Labels{
			Direction: metric.Outbound, Authority: "web.shop.svc.cluster.local:80",
			Namespace: "shop", Service: "web",
			Route: "order", Backend: "web-v2.shop.svc.cluster.local:80",
			Peer: metric.Workload{Namespace: "shop", Kind: "deployment", Name: "web",
				Pod: "web-1"},
			PeerID: "spiffe://cluster.local/ns/shop/sa/web",
			OwnID:  "spiffe://cluster.local/ns/shop/sa/me", Security: metric.MTLS,
		},
		Start:     time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.FixedZone("", 3600)),
		FirstByte: 2 * time.Millisecond, Method: "POST", Path: "/order", Authority: "web:80",
		HTTP1:         true,
		ClientAddress: "127.0.0.1:5555", Endpoint: "10.0.0.1:8080", Status: 200, GRPCStatus: "14",
		UserAgent: "curl/8", RequestID: "id-1", Limit: time.Second,
		Tries: 2, RequestBytes: 3, ResponseBytes: 0, Upgraded: true, Cut: true,
		Reason: outcome.TryTimeout, Detail: "why",
	}
}

// What a line says, name by name.
func TestALineOfARequest(t *testing.T) {
	const want = `{"time":"2026-01-02T02:04:05.678901Z","tulle.direction":"outbound",` +
		`"http.request.method":"POST","url.path":"/order",` +
		`"server.address":"web","server.port":80,"network.protocol.version":"1.1",` +
		`"http.response.status_code":200,"rpc.response.status_code":"UNAVAILABLE",` +
		`"http.request.body.size":3,"http.response.body.size":0,` +
		`"tulle.first_byte":0.002000,"tulle.tries":2,"tulle.deadline_left":0.987655,` +
		`"user_agent.original":"curl/8","tulle.request_id":"id-1","tulle.duration":0.012345,` +
		`"client.address":"127.0.0.1","tulle.client.id":"spiffe://cluster.local/ns/shop/sa/me",` +
		`"tulle.server.id":"spiffe://cluster.local/ns/shop/sa/web",` +
		`"tulle.server.workload":"deployment/web","tulle.server.pod":"web-1",` +
		`"tulle.security":"mtls",` +
		`"tulle.destination":"web.shop.svc.cluster.local:80",` +
		`"tulle.namespace":"shop","tulle.service":"web","tulle.route":"order",` +
		`"tulle.backend":"web-v2.shop.svc.cluster.local:80","tulle.endpoint":"10.0.0.1:8080",` +
		`"tulle.reason":"try_timeout","tulle.error":"why",` +
		`"tulle.flags":["failed","retried","upgraded","cut"]}` + "\n"
	got := appendLine(nil, request())
	if string(got) != want {
		t.Errorf("got\n%s want\n%s", got, want)
	}
	decoded(t, got)
}

func TestALineOfAnOpaqueConnection(t *testing.T) {
	r := &outcome.Record{Labels: metric.Labels{Direction: metric.Inbound,
		PeerID: "spiffe://a/ns/b/sa/c"},
		RequestBytes: 1, ResponseBytes: 2, ClientAddress: "[::1]:4"}
	m := decoded(t, appendLine(nil, r))
	for name, want := range map[string]any{
		"network.transport": "tcp", "tulle.request.size": 1.0, "tulle.response.size": 2.0,
		"tulle.client.id": "spiffe://a/ns/b/sa/c", "client.address": "::1",
		"tulle.direction":     "inbound",
		"http.request.method": nil, "tulle.reason": nil, "tulle.flags": nil,
	} {
		if m[name] != want {
			t.Errorf("%s is %v, want %v", name, m[name], want)
		}
	}
}

// Whatever a peer sends stays one line, of JSON or as text, of bounded length, that says what was
// sent as far as it is text, and in which nothing is left that a terminal would obey.
func FuzzLine(f *testing.F) {
	f.Add("GET", "/", "web", "0", "")
	f.Add("GET\n{}", "/\x00\x1b[2J\u202e\u2028\x7f\xff\"\\", "user:secret@[::1]:80", "99",
		"\U0001f600\U000e0001")
	f.Add("GET", "/a?token=x#y", "", "", "")
	f.Add("", "/?token=x#y", ":", "-1", strings.Repeat("\xff", 5000))
	f.Add("GET /x HTTP/1.1\" 200", "/ \" - \"", "a\" \"b", "0", "[2026-01-01T00:00:00.000Z]")
	f.Fuzz(func(t *testing.T, method, path, authority, grpc, detail string) {
		var w outcome.Watch
		var got, plain []byte
		w.Set(&outcome.Hook{End: func(r *outcome.Record) {
			got, plain = appendLine(nil, r), appendText(nil, r)
		}})
		r := w.Begin(time.Unix(0, 0))
		r.Asked(&outcome.Texts{}, method, path, authority)
		r.Named(&outcome.Texts{}, detail, method)
		r.GRPC(grpc)
		r.Because(outcome.ConnectFailed, detail)
		r.End(outcome.Request{})
		printable(t, got)
		printable(t, plain)
		if !textLine.Match(plain) {
			t.Fatalf("%q has another form", plain)
		}
		m := decoded(t, got)
		if method != "" {
			same(t, m, "http.request.method", method)
			kept, _, _ := strings.Cut(path, "?")
			kept, _, _ = strings.Cut(kept, "#")
			same(t, m, "url.path", kept)
		}
		same(t, m, "tulle.error", detail)
		if strings.Contains(authority, "@") &&
			!strings.Contains(authority[strings.LastIndex(authority, "@"):], "secret") &&
			strings.Contains(authority, "secret") && strings.Contains(method+path+grpc+detail,
			"secret") == false &&
			bytes.Contains(got, []byte("secret")) {
			t.Errorf("the password is shown: %q", got)
		}
	})
}

// textLine is what parsers of Istio's lines take, with as many fields as there are.
var textLine = regexp.MustCompile(`^\[[^\] ]+\] "[^" ]+ [^" ]+ [^" ]+" \d+ [^" ]+ [^" ]+ [^" ]+ ` +
	`"[^"]+" \d+ \d+ \d+ [^" ]+( "[^"]+"){5}( [^" ]+){6}\n$`)

func printable(t *testing.T, line []byte) {
	t.Helper()
	if bytes.IndexByte(line, '\n') != len(line)-1 || len(line) > 32<<10 || !utf8.Valid(line) {
		t.Fatalf("%d bytes: %q", len(line), line)
	}
	for _, c := range string(line[:len(line)-1]) {
		if !unicode.IsPrint(c) {
			t.Fatalf("%U is left in %q", c, line)
		}
	}
}

// same compares with what the oracle makes of the text.
func same(t *testing.T, m map[string]any, name, sent string) {
	t.Helper()
	sent = sent[:min(len(sent), 1<<10)]
	text, err := json.Marshal(sent)
	if err != nil {
		t.Fatal(err)
	}
	var want string
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	got, _ := m[name].(string)
	if got != want {
		t.Errorf("%s is %q, want %q", name, got, want)
	}
}

func hook(t testing.TB, l *AccessLog, m *api.AccessLog) *outcome.Hook {
	t.Helper()
	h, err := l.Hook(m)
	if err != nil || h == nil {
		t.Fatalf("%v: %v, %v", m, h, err)
	}
	return h
}

// A reader that is stuck holds up neither those who tell of requests nor the end of the process,
// and what it makes lost is counted.
func TestAStuckReaderHoldsUpNobody(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close() // ends the write that is stuck
	dropped := new(metric.Counter)
	l := NewAccessLog(w, slog.New(slog.DiscardHandler), dropped)
	h := hook(t, l, &api.AccessLog{Format: api.Format_FORMAT_JSON, LinesPerSecond: 100_000})
	const many = 20000 // more than the queue and the pipe take
	await.Return(t, "all is told", func() {
		for range many {
			h.End(request())
		}
	})
	if n := dropped.Load(); n == 0 || n > many {
		t.Errorf("%d of %d are dropped", n, many)
	}
	began := time.Now()
	l.Close()
	if took := time.Since(began); took > 5*accessFlush {
		t.Errorf("the end took %v", took)
	}
}

// What was told before the end is written.
func TestTheEndWritesWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a second is not over before it is
		var out bytes.Buffer
		l := NewAccessLog(&out, slog.New(slog.DiscardHandler), new(metric.Counter))
		h := hook(t, l, &api.AccessLog{Format: api.Format_FORMAT_JSON, LinesPerSecond: 100_000})
		for range accessQueue { // it has failed
			h.End(request())
		}
		l.Close()
		if n := bytes.Count(out.Bytes(), []byte("\n")); n != accessQueue {
			t.Errorf("%d lines, want %d", n, accessQueue)
		}
		NewAccessLog(io.Discard, slog.New(slog.DiscardHandler), new(metric.Counter)).Close()
	})
}
