package policy

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

var web = Parent{Host: "web.shop.svc.cluster.local"}

func route(namespace, name string, age int, rules ...string) Route {
	r := Route{
		Origin: Origin{"g", "K", namespace, name}, Parents: []Parent{web},
		Created: time.Unix(int64(1000-age), 0),
	}
	for _, rule := range rules {
		r.Rules = append(r.Rules, Rule{Name: rule})
	}
	return r
}

// order is a policy's rules, each with the object that it is of.
func order(p *Policy) string {
	if p == nil {
		return "none"
	}
	var out []string
	for _, r := range p.Rules {
		out = append(out, fmt.Sprintf("%s/%s.%s", r.Origin.Namespace, r.Origin.Name, r.Name))
	}
	return strings.Join(out, " ")
}

func TestPrecedence(t *testing.T) {
	producer, older := route("shop", "b", 1, "1", "2"), route("shop", "c", 2, "3")
	same, consumer := route("shop", "a", 1, "4"), route("client", "z", 0, "5")
	elsewhere := route("client", "y", 9, "6")
	elsewhere.Parents = []Parent{{Host: "db.shop.svc.cluster.local"}}
	for _, c := range []struct {
		name   string
		routes []Route
		caller string
		want   string
	}{
		{"nothing", nil, "client", "none"},
		{"another parent's", []Route{elsewhere}, "client", "none"},
		{"the producer's", []Route{producer}, "client", "shop/b.1 shop/b.2"},
		{"the oldest first", []Route{producer, older}, "client", "shop/c.3 shop/b.1 shop/b.2"},
		{"then by name", []Route{producer, same}, "client", "shop/a.4 shop/b.1 shop/b.2"},
		{"the consumer's alone", []Route{producer, older, consumer, elsewhere}, "client",
			"client/z.5"},
		{"another consumer's counts as a producer's", []Route{producer, consumer}, "third",
			"shop/b.1 shop/b.2 client/z.5"},
	} {
		if got := order(Merge(c.routes, web, c.caller)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// What a policy has one of is the first's that has it; ports of all are opaque.
func TestMergeOfSingleThings(t *testing.T) {
	first, second := route("shop", "a", 2), route("shop", "b", 1)
	second.Budget = &Budget{Ratio: 0.5}
	second.Default = []Backend{{Host: "canary", Weight: 1}}
	first.Opaque = []crd.PortRange{{First: 1, Last: 2}}
	second.Opaque = []crd.PortRange{{First: 9, Last: 9}}
	p := Merge([]Route{second, first}, web, "client")
	if p.RetryBudget().RetryRatio != 0.5 || len(p.DefaultBackends()) != 1 {
		t.Errorf("budget and backends are %v, %v", p.RetryBudget(), p.DefaultBackends())
	}
	for port, want := range map[uint16]bool{1: true, 2: true, 3: false, 9: true} {
		if p.IsOpaque(port) != want {
			t.Errorf("port %d is opaque: %v", port, !want)
		}
	}
	var none *Policy
	if none.IsOpaque(1) || none.HTTP(nil) != nil || none.Named() != nil ||
		none.DefaultBackends() != nil || none.RetryBudget().RetryRatio != crd.DefaultRetryRatio {
		t.Error("no policy says something")
	}
}

// A caller's proxy is told all of a rule, the service's own proxies what they measure by.
func TestMessages(t *testing.T) {
	r := route("shop", "a", 1)
	r.Rules = []Rule{{
		Name: "r", Timeout: 1500 * time.Microsecond, Retry: &api.Retry{},
		Hedge:   &api.Hedge{AfterMs: 50},
		Filters: []*api.Filter{{}}, Backends: []Backend{{Host: "canary", Weight: 3}},
		Responses: []*api.ResponseClass{{Failure: true}},
	}}
	p := Merge([]Route{r}, web, "client")
	rule := p.HTTP(func(all []Backend) []*api.Backend {
		return []*api.Backend{{Cluster: all[0].String(), Weight: 7}}
	})[0]
	if rule.Timeouts.GetRequestMs() != 2 || rule.Retry == nil || rule.Hedge.GetAfterMs() != 50 ||
		len(rule.Filters) != 1 || rule.Backends[0].Cluster != "canary" ||
		rule.Origin.GetRule() != "r" || rule.Origin.GetName() != "a" {
		t.Errorf("a caller is told %v", rule)
	}
	rule = p.Named()[0]
	if rule.Timeouts != nil || rule.Retry != nil || rule.Hedge != nil || rule.Filters != nil ||
		rule.Backends != nil || len(rule.ResponseClasses) != 1 || rule.Origin.GetRule() != "r" {
		t.Errorf("the service is told %v", rule)
	}
}

// Weights that the CRD admits, 1M each in thousandths, were more than 32 bits together: the first
// backend was given everything.
func TestWeightsFit32Bits(t *testing.T) {
	for name, weights := range map[string][]int64{
		"small":      {900, 100, 50},
		"large":      {1e9, 1e9, 1e9, 1e9, 1e9},
		"a tiny one": {1e9, 1e9, 1e9, 1e9, 1e9, 1},
		"the most":   slices.Repeat([]int64{1e9}, 64),
	} {
		var backends []Backend
		var total int64
		for _, w := range weights {
			backends = append(backends, Backend{Weight: w})
			total += w
		}
		got := Weights(backends)
		var sum uint64
		for _, w := range got {
			sum += uint64(w)
		}
		for i, w := range got {
			share, want := float64(w)/float64(sum), float64(weights[i])/float64(total)
			if w == 0 || math.Abs(share-want) > 1e-6 {
				t.Errorf("%s: backend %d has %d of %d: a share of %f, want %f", name, i, w, sum,
					share, want)
			}
			if total <= math.MaxUint32 && int64(w) != weights[i] {
				t.Errorf("%s: backend %d has %d, want %d", name, i, w, weights[i])
			}
		}
		if sum > math.MaxUint32 {
			t.Errorf("%s: the sum is %d", name, sum)
		}
	}
}

// What a profile may say of a hedge a proxy takes, and nothing less.
func TestTheLeastHedgeIsTheProxys(t *testing.T) {
	if crd.MinPercentile != api.MinPercentile || crd.MaxPercentile != api.MaxPercentile {
		t.Errorf("percentiles are %d to %d in a profile, %d to %d on the wire", crd.MinPercentile,
			crd.MaxPercentile, api.MinPercentile, api.MaxPercentile)
	}
	if crd.MinHedge != api.MinHedge {
		t.Errorf("%v in a profile, %v on the wire", crd.MinHedge, api.MinHedge)
	}
}
