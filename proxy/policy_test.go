package proxy

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"golang.org/x/net/http2/hpack"
)

func TestPickerKeepsWeightsExactly(t *testing.T) {
	a, b := &cluster{name: "a"}, &cluster{name: "b"}
	p := &picker{total: 100, backends: []backend{{cluster: a, upTo: 90}, {cluster: b, upTo: 100}}}
	count := 0
	for i := 1; i <= 2000; i++ {
		if p.pick().cluster == b {
			count++
		}
		if i%100 == 0 && math.Abs(float64(count)-float64(i)/10) > 2 {
			t.Fatalf("after %d picks, %d of b: want a tenth", i, count)
		}
	}
}

func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(&api.RetryBudget{RetryRatio: 0.2, MinRetriesPerSecond: 1, TtlMs: 10000})
		for range 100 {
			b.request(time.Now())
		}
		spent := 0
		for b.withdraw(time.Now()) {
			spent++
		}
		if spent != 30 { // a fifth of a hundred, and one for each of ten seconds
			t.Errorf("%d retries for 100 requests, want 30", spent)
		}
		time.Sleep(11 * time.Second)
		for spent = 0; b.withdraw(time.Now()); {
			spent++
		}
		if spent != 10 {
			t.Errorf("%d retries after the requests were forgotten, want the minimum's 10", spent)
		}
	})
}

func TestEWMARisesAtOnceAndFallsWithTime(t *testing.T) {
	p := ewmaParams{30 * time.Millisecond, 10 * time.Second}
	now := time.Unix(0, 0)
	var e ewma
	e.reset(p, now)
	e.observe(time.Second, p, now)
	if got := e.load(p, now); got != float64(time.Second) {
		t.Errorf("a peak counts at once: load %v", time.Duration(got))
	}
	now = now.Add(10 * time.Second)
	if got := e.load(p, now); math.Abs(got-float64(time.Second)/math.E) > 1e6 {
		t.Errorf("after one decay: %v", time.Duration(got))
	}
	e.pending.Add(3)
	if one := e.load(p, now); one < 1.4e9 {
		t.Errorf("pending requests multiply the load: %v", time.Duration(one))
	}
}

func TestPickAvoidsTheEndpointThatFailed(t *testing.T) {
	now := time.Now()
	a, b, c := &endpoint{id: "a"}, &endpoint{id: "b"}, &endpoint{id: "c"}
	s := &endpointSet{params: ewmaParams{1, 1}, endpoints: []*endpoint{a, b, c}}
	for range 100 {
		if s.pick(a, now) == a {
			t.Fatal("picked the endpoint that just failed")
		}
	}
	b.failed(now, limits.EndpointRest)
	for range 100 {
		if s.pick(a, now) != c {
			t.Fatal("picked an endpoint that cannot be dialed while another is there")
		}
	}
	alone := &endpointSet{endpoints: []*endpoint{a}}
	if alone.pick(a, now) != a {
		t.Error("the only endpoint is better than none")
	}
}

func TestHeaderTable(t *testing.T) {
	in := []hpack.HeaderField{{Name: ":status", Value: "200"}, {Name: "tulle-client-id"}, {Name: "tulle-error"}, {Name: "tulle-proto"},
		{Name: "tulle-anything"}, {Name: "x-forwarded-client-cert"}, {Name: "x-mine"}, {Name: "tullee"}}
	out := keepFields(nil, in)
	if len(out) != 3 || out[0].Name != ":status" || out[1].Name != "x-mine" || out[2].Name != "tullee" {
		t.Errorf("kept %v", out)
	}
}

func TestParseGRPCTimeout(t *testing.T) {
	for s, want := range map[string]time.Duration{"1S": time.Second, "100m": 100 * time.Millisecond, "99999999n": 99999999, "5H": 5 * time.Hour} {
		if d, ok := parseGRPCTimeout(s); !ok || d != want {
			t.Errorf("%q: %v, %v", s, d, ok)
		}
	}
	for _, s := range []string{"", "S", "1", "123456789S", "-1S", "1.5S", "1x"} {
		if d, ok := parseGRPCTimeout(s); ok {
			t.Errorf("%q: %v", s, d)
		}
	}
}
