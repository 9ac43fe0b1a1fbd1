package forward

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/header"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"golang.org/x/net/http2/hpack"
)

// limitWindow is of the tests' limit, which admits one request in it.
const limitWindow = 10 * time.Second

func oneByCaller() *api.RateLimit {
	return &api.RateLimit{Origin: &api.Origin{Namespace: "shop", Name: "web", Rule: "one"},
		Keys: []*api.RateKey{
			{Key: &api.RateKey_Identity{Identity: &api.CallerIdentity{}}},
		},
		Requests: 1, WindowMs: uint64(limitWindow.Milliseconds())}
}

// admits says how the application's port is called.
func (h *hedged) admits(list ...*api.RateLimit) *discover.Port {
	in := h.session.Port(8080)
	h.say(&api.Resource{Kind: api.Kind_KIND_INBOUND,
		Name: api.KeyString(&api.Key{Key: &api.Key_InboundPort{InboundPort: 8080}}),
		Body: &api.Resource_Inbound{Inbound: &api.Inbound{Port: 8080,
			Protocol: api.Protocol_PROTOCOL_DETECT, Mode: api.Mode_MODE_PERMISSIVE,
			DefaultAction: api.Action_ACTION_ALLOW, Reach: api.Reach_REACH_DIALED,
			Probes: []*api.Probe{{Path: "/ready"}}, RateLimits: list}}})
	return in
}

// arrives is a caller's connection to the port.
func (h *hedged) arrives(in *discover.Port, who authorize.Caller, http1 bool) *ServerConn {
	c := h.Inbound(&discover.Arrival{Caller: who, Port: in, App: in.Application("a:80")})
	c.http1 = http1
	return c
}

var (
	meshedCaller = authorize.Caller{ID: "spiffe://cluster.local/ns/shop/sa/front",
		Security: metric.MTLS}
	plainCaller = authorize.Caller{Address: netip.MustParseAddr("10.0.0.1"),
		Security: metric.PlaintextUnmeshed}
)

// A request that comes too often is answered 429, or RESOURCE_EXHAUSTED, with when to come again;
// only the mesh is told more. It counts as a request, and not as a failure.
func TestARateLimitIsAnswered(t *testing.T) {
	for _, tt := range []struct {
		who         authorize.Caller
		http1, grpc bool
	}{
		{meshedCaller, false, false}, {meshedCaller, true, false}, {meshedCaller, false, true},
		{plainCaller, false, false}, {plainCaller, true, false}, {plainCaller, false, true},
	} {
		name := fmt.Sprintf("meshed %v, http1 %v, grpc %v", tt.who.Meshed(), tt.http1, tt.grpc)
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var fields []hpack.HeaderField
				acts, want := []act(nil), []string{"200", "429", "200"}
				if tt.grpc {
					fields = append(fields, grpcCall)
					acts = append(acts, status(0, "0", ""), status(0, "0", ""))
					want = []string{"200 0", "200 8", "200 0"}
				}
				h := newHedged(t, 1, acts...)
				c := h.arrives(h.admits(oneByCaller()), tt.who, tt.http1)
				for i, pause := range []time.Duration{0, limitWindow / 4, limitWindow} {
					time.Sleep(pause)
					_, s := c.request(fields...)
					code, body := s.wait(t)
					if got := strings.TrimSpace(code + " " + s.grpc); got != want[i] {
						t.Errorf("request %d: %s %s, want %s", i, got, body, want[i])
					}
					if i == 1 {
						wantTooOften(t, s, tt.who.Meshed(), tt.grpc)
					}
				}
				synctest.Wait()
				sums, counted := h.counted()
				if len(counted) != 3 || sums.failures > 0 || sums.limited != 1 {
					t.Errorf("%d requests are counted, %d failures, and %d as limited",
						len(counted), sums.failures, sums.limited)
				}
			})
		})
	}
}

// wantTooOften checks an answer that came a quarter of a window after the request before it.
func wantTooOften(t *testing.T, s *answers, meshed, grpc bool) {
	t.Helper()
	for name, want := range map[string]string{"retry-after": "8",
		"ratelimit-policy": `"one";q=1;w=10`, "ratelimit": `"one";r=0;t=8`} {
		if got := header.Value(s.head, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	const reason = "the request is beyond rate limit one of shop/web, 1 requests in 10s: " +
		"try again in 8 s"
	if got := header.Value(s.head, header.Error); (got == "rate_limited: "+reason) != meshed {
		t.Errorf("tulle-error is %q", got)
	}
	if got := string(s.body); !grpc && got != reason+"\n" {
		t.Errorf("the body is %q", got)
	}
}

// asks sends requests at once, and returns what each gets.
func (h *hedged) asks(t *testing.T, c *ServerConn, target string, n int) string {
	t.Helper()
	var all []string
	for range n {
		_, s := c.ask(target, true)
		got, _ := s.wait(t)
		all = append(all, got)
	}
	return strings.Join(all, " ")
}

func TestWhoARateLimitIsNotFor(t *testing.T) {
	own := authorize.Caller{Security: metric.Loopback}
	for _, tt := range []struct {
		name, target string
		who          authorize.Caller
		want         string
	}{
		{"a caller", "/", plainCaller, "200 429"},
		{"the kubelet", "/ready", plainCaller, "200 200"},
		{"a peer that asks as the kubelet does", "/ready", meshedCaller, "200 429"},
		{"the pod itself", "/", own, "200 200"},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHedged(t, 1)
			c := h.arrives(h.admits(oneByCaller()), tt.who, true)
			if got := h.asks(t, c, tt.target, 2); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
			synctest.Wait()
		})
	}
}

// A connection is held against the limits of the moment, and what its caller has used of one is
// still used when destination has said it anew.
func TestRateLimitsChangeUnderAConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHedged(t, 1)
		in := h.admits()
		c := h.arrives(in, plainCaller, true)
		twice := oneByCaller()
		twice.Requests = 2
		for _, tt := range []struct {
			name   string
			limits []*api.RateLimit
			want   string
		}{
			{"none", nil, "200 200"},
			{"one", []*api.RateLimit{oneByCaller()}, "200 429"},
			{"the same again", []*api.RateLimit{oneByCaller()}, "429 429"},
			{"twice the rate", []*api.RateLimit{twice}, "429 429"},
			{"none any more", nil, "200 200"},
		} {
			h.admits(tt.limits...)
			if got := h.asks(t, c, "/", 2); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
		}
		synctest.Wait()
	})
}

// What cannot be used is not used by half: the limits before it hold.
func TestARateLimitThatIsNotKnownIsRejected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHedged(t, 1)
		in := h.admits(oneByCaller())
		c := h.arrives(in, plainCaller, true)
		unknown := oneByCaller()
		unknown.Keys = []*api.RateKey{{}}
		h.admits(unknown)
		if got := h.asks(t, c, "/", 2); got != "200 429" {
			t.Errorf("answered by %s", got)
		}
		synctest.Wait()
	})
}

func TestADryRunRefusesNothingAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, said := newHedged(t, 1), &bytes.Buffer{}
		h.Sampled = slog.New(slog.NewTextHandler(said, nil))
		trial := oneByCaller()
		trial.DryRun = true
		c := h.arrives(h.admits(trial), plainCaller, true)
		if got := h.asks(t, c, "/", 2); got != "200 200" {
			t.Errorf("answered by %s", got)
		}
		synctest.Wait()
		if text := said.String(); strings.Count(text, "\n") != 1 ||
			!strings.Contains(text, "one of shop/web") || !strings.Contains(text, "from=10.0.0.1") {
			t.Errorf("said %q", text)
		}
		beyond := metric.RateLimit{Namespace: "shop", Policy: "web", Limit: "one"}
		if n := h.Metrics.Limited(beyond).Load(); n != 1 {
			t.Errorf("%d requests are counted", n)
		}
	})
}
