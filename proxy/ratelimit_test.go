package proxy_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/output"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// hourly admits two requests of each caller.
func hourly() *api.RateLimit {
	return &api.RateLimit{
		Origin: &api.Origin{Namespace: "shop", Name: "web", Rule: "hourly"},
		Keys: []*api.RateKey{
			{Key: &api.RateKey_Identity{Identity: &api.CallerIdentity{}}},
		},
		Requests: 2, WindowMs: uint64(time.Hour.Milliseconds()),
	}
}

// limited has the proxies that are run next, of an account, hear of rate limits. Their pod has no
// Service before it, and is called by its port's number all the same.
func (m *testMesh) limited(account string, limits ...*api.RateLimit) {
	m.through(account, func(r *api.Resource) {
		if in := r.GetInbound(); in != nil {
			in.Reach, in.RateLimits = api.Reach_REACH_CHOSEN, limits
		}
	})
}

// limitedPair is a caller and a callee, whose proxy is told of rate limits; its access log is
// returned.
func limitedPair(
	t *testing.T, addr string, limits ...*api.RateLimit,
) (caller, callee *running, log *output.Buffer) {
	t.Helper()
	m := newMesh(t, 0)
	m.annotate(accessLogOn)
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	caller = m.caller("web")
	m.limited("web", limits...)
	log = &output.Buffer{}
	m.access = log
	return caller, m.proxy("web", web), log
}

// The callee's own proxy counts, so a caller of the mesh is told, and so is one that comes past its
// own proxy, in a bucket of its own. What is beyond the limit is logged and counted as that.
func TestARateLimitIsKeptByTheCallee(t *testing.T) {
	addr := app(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	caller, callee, log := limitedPair(t, addr, hourly())
	for _, tt := range []struct {
		name   string
		client *http.Client
		to     string
		want   []int
		reason bool
	}{
		{"meshed, HTTP/1", http1Client(t), caller.out["web"], []int{200, 200, 429}, true},
		{"meshed, HTTP/2", http2Client(t), caller.out["web"], []int{429}, true},
		{"unmeshed, HTTP/2", http2Client(t), callee.inbound, []int{200, 200, 429}, false},
		{"unmeshed, HTTP/1", http1Client(t), callee.inbound, []int{429}, false},
	} {
		for i, want := range tt.want {
			code, body, head := get(t, tt.client, "http://"+tt.to)
			if code != want {
				t.Fatalf("%s, request %d: %d %s, want %d", tt.name, i, code, body, want)
			}
			if want == 429 {
				wantLimited(t, tt.name, head, tt.reason)
			}
		}
	}
	wantCountedLimited(t, caller, "http/1", "http/2")
	line := awaitLine(t, log, map[string]any{"http.response.status_code": 429,
		"tulle.reason": "rate_limited", "tulle.tries": 0, "tulle.client.id": workloadID("client")})
	if line["tulle.flags"] != nil {
		t.Errorf("logged as %v", line)
	}
	resp, err := asker.Get("http://" + callee.admin + "/metrics")
	check(t, err)
	defer resp.Body.Close()
	const want = `tulle_rate_limited_total{enforced="true",limit="hourly",namespace="shop",` +
		`policy="web"} 4`
	if page := read(t, resp); !strings.Contains(page, want) {
		t.Errorf("no %s in\n%s", want, page)
	}
}

func wantLimited(t *testing.T, name string, head http.Header, reason bool) {
	t.Helper()
	// two an hour: there is room in half of one
	after, err := strconv.Atoi(head.Get("Retry-After"))
	if err != nil || after < 1 || after > 1800 {
		t.Errorf("%s: Retry-After is %q", name, head.Get("Retry-After"))
	}
	if got := head.Get("RateLimit-Policy"); got != `"hourly";q=2;w=3600` {
		t.Errorf("%s: RateLimit-Policy is %s", name, got)
	}
	if got := head.Get("RateLimit"); got != `"hourly";r=0;t=`+head.Get("Retry-After") {
		t.Errorf("%s: RateLimit is %s", name, got)
	}
	if got := head.Get("Tulle-Error"); strings.Contains(got, "hourly of shop/web") != reason {
		t.Errorf("%s: Tulle-Error is %q", name, got)
	}
}

// A gRPC caller is told by gRPC's status, and by the metadata that comes with it.
func TestARateLimitOfGRPC(t *testing.T) {
	addr, _ := serveGRPC(t, &scripted{unary: func(context.Context) error { return nil }})
	caller, _, _ := limitedPair(t, addr, hourly())
	c := dialGRPC(t, caller.out["web"])
	for i, want := range []codes.Code{codes.OK, codes.OK, codes.ResourceExhausted} {
		var said metadata.MD
		_, err := c.EmptyCall(within(t, 20*time.Second), &testgrpc.Empty{}, grpc.Trailer(&said))
		if status.Code(err) != want {
			t.Fatalf("call %d: %v, want %v", i, err, want)
		}
		if want == codes.OK {
			continue
		}
		if len(said["retry-after"]) != 1 || len(said["ratelimit"]) != 1 ||
			!strings.Contains(status.Convert(err).Message(), "hourly of shop/web") {
			t.Errorf("call %d: %v, %v", i, err, said)
		}
	}
	wantCountedLimited(t, caller, "grpc")
}

// wantCountedLimited: the caller's proxy knows one request in each protocol for one that a limit
// refused, although it is the callee's.
func wantCountedLimited(t *testing.T, caller *running, protocols ...string) {
	t.Helper()
	_, page, _ := get(t, asker, "http://"+caller.admin+"/metrics")
	for _, protocol := range protocols {
		one := regexp.MustCompile(`\ntulle_requests_limited_total\{[^}]*direction="outbound"[^}]*` +
			`protocol="` + protocol + `"[^}]*\} 1\n`)
		if !one.MatchString(page) {
			t.Errorf("not one request of %s counts as limited in\n%s", protocol, page)
		}
	}
}

// What a dry run would refuse is served, and counted for whoever is to end the dry run.
func TestADryRunCountsWhatItWouldRefuse(t *testing.T) {
	addr := app(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	trial := hourly()
	trial.DryRun = true
	caller, callee, _ := limitedPair(t, addr, trial)
	for range 5 {
		if status, _, _ := get(t, http1Client(t), "http://"+caller.out["web"]); status != 200 {
			t.Fatalf("status %d", status)
		}
	}
	_, page, _ := get(t, asker, "http://"+callee.admin+"/metrics")
	three := regexp.MustCompile(`\ntulle_requests_dry_run_refused_total\{[^}]*` +
		`direction="inbound"[^}]*\} 3\n`)
	if !three.MatchString(page) {
		t.Errorf("not three requests count as such in\n%s", page)
	}
}

// A port with limits takes nothing but HTTP, whoever calls: what is carried unread is not counted.
func TestNobodyIsBelowARateLimit(t *testing.T) {
	a := accept(t)
	m := impatient(t)
	web := pod{"web-0", a.addr, loopback.Free()}
	m.service("web", web)
	m.caller("web") // starts destination
	m.limited("web", hourly())
	m.proxy("web", web)
	_, port, _ := net.SplitHostPort(a.addr)
	for _, meshed := range []bool{false, true} {
		nc, err := net.Dial("tcp", web.mesh)
		if meshed {
			nc.Close()
			nc, err = m.dialMesh("client", web.mesh, port+config.SNISuffix, config.ALPNTCP,
				workloadID("web"))
		}
		check(t, err)
		check(t, nc.SetDeadline(time.Now().Add(10*time.Second)))
		say(t, nc, "\x00opaque")
		if b, _ := io.ReadAll(nc); len(b) > 0 && !strings.HasPrefix(string(b), "HTTP/1.1 400 ") {
			t.Errorf("meshed %v: answered %q, want 400 or a cut", meshed, b)
		}
		nc.Close()
	}
	select {
	case <-a.conns:
		t.Error("the application was reached")
	default:
	}
}
