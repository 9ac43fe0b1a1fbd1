package policy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/prototext"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

func trafficOf(t *testing.T, spec string) Traffic {
	t.Helper()
	docs, err := crd.Documents("f.yaml", []byte("apiVersion: tulle.dev/v1alpha1\n"+
		"kind: BackendTrafficPolicy\nmetadata: {name: p, namespace: shop}\nspec:\n"+
		"  targetRefs: [{kind: Service, name: web}]\n"+spec))
	if err != nil {
		t.Fatal(err)
	}
	p, err := docs[0].BackendTrafficPolicy()
	if err != nil {
		t.Fatal(err)
	}
	return FromBackendTrafficPolicy(p, time.Time{})
}

// Every section of the kind arrives in the message, in the message's units.
func TestTrafficIsSaidToProxies(t *testing.T) {
	for spec, want := range map[string]string{
		"  loadBalancer: {type: EWMA}\n":         `ewma:{}`,
		"  loadBalancer: {type: RoundRobin}\n":   `round_robin:{}`,
		"  loadBalancer: {type: Random}\n":       `random:{}`,
		"  loadBalancer: {type: LeastRequest}\n": `least_request:{}`,
		"  loadBalancer: {type: LeastRequest, leastRequest: {choices: 4}}\n": `least_request:{` +
			`choices:4}`,
		"  loadBalancer: {type: ConsistentHash, consistentHash: {keys: [{header: X-User}, " +
			"{cookie: {name: Session, path: /a, ttl: 1h}}, {query: q}, {source: {}}], " +
			"boundedLoadPercent: 25}}\n": `consistent_hash:{keys:{header:"x-user"} ` +
			`keys:{cookie:{name:"Session" path:"/a" ttl_ms:3600000}} keys:{query:"q"} ` +
			`keys:{source:{}} bounded_load_percent:25 maglev:{}}`,
		"  loadBalancer: {type: ConsistentHash, consistentHash: {keys: [{query: q}], " +
			"ring: {minSize: 2048}}}\n": `consistent_hash:{keys:{query:"q"} ` +
			`ring:{min_size:2048 max_size:65536}}`,
		"  loadBalancer: {type: ConsistentHash, consistentHash: {keys: [{query: q}], " +
			"maglev: {tableSize: 251}}}\n": `consistent_hash:{keys:{query:"q"} ` +
			`maglev:{table_size:251}}`,
		"  slowStart: {window: 1500ms, minWeightPercent: 20, aggression: 2}\n": `ewma:{} ` +
			`slow_start:{window_ms:1500 min_weight_percent:20 aggression:2}`,
		"  circuitBreaker: {maxConnections: 1, maxPendingRequests: 2, maxRequests: 3, " +
			"maxRetries: 4}\n": `ewma:{} limits:{max_connections:1 max_pending:2 ` +
			`max_requests:3 max_retries:4}`,
		"  outlierDetection: {consecutiveFailures: 5, successRate: {thresholdPercent: 80, " +
			"window: 5s, minRequests: 6}, deviation: {factor: 1.5, interval: 7s, " +
			"minEndpoints: 8, minRequests: 9}, baseEjectionTime: 10s, maxEjectionTime: 1m, " +
			"maxEjectedPercent: 11, dryRun: true}\n": `ewma:{} ` +
			`outlier_detection:{consecutive_failures:5 ` +
			`success_rate:{threshold_percent:80 window_ms:5000 min_requests:6} ` +
			`deviation:{factor:1.5 interval_ms:7000 min_endpoints:8 min_requests:9} ` +
			`base_ejection_ms:10000 max_ejection_ms:60000 max_ejected_percent:11 dry_run:true}`,
		"  locality: {prefer: Zone}\n": `ewma:{} locality_preference:{prefer:NEARNESS_ZONE}`,
		"  locality: {prefer: Node, spillover: Health, failover: [{zone: b, region: r}, " +
			"{region: s}]}\n": `ewma:{} locality_preference:{prefer:NEARNESS_NODE ` +
			`failover:{region:"r" zone:"b"} failover:{region:"s"} by_health:true}`,
		"  locality: {prefer: Region}\n": `ewma:{} locality_preference:{prefer:NEARNESS_REGION}`,
		"  locality: {prefer: None}\n":   `ewma:{}`,
	} {
		use := UseOf([]Traffic{trafficOf(t, spec)}, Scope{"shop", "web", "http"}, "client")
		c := &api.Cluster{}
		use.Set(c)
		text := prototext.MarshalOptions{}.Format(c)
		if got := strings.Join(strings.Fields(text), " "); got != want {
			t.Errorf("%s\n got %s\nwant %s", spec, got, want)
		}
		if use.RetryBudget() != nil {
			t.Errorf("%s: a budget is %v", spec, use.RetryBudget())
		}
	}
	for spec, want := range map[string]string{
		"{http: {path: /live, host: a, expectedStatuses: [{min: 200, max: 204}]}, interval: 2s, " +
			"timeout: 1500ms, healthyThreshold: 4, unhealthyThreshold: 5, port: 9}": `http:{` +
			`path:"/live" host:"a" statuses:{min:200 max:204}} interval_ms:2000 timeout_ms:1500 ` +
			`healthy_threshold:4 unhealthy_threshold:5 port:9`,
		"{grpc: {service: s}, interval: 500ms}": `grpc:{service:"s"} interval_ms:500 ` +
			`timeout_ms:500 healthy_threshold:2 unhealthy_threshold:3`,
		"{tcp: {}}": `tcp:{} interval_ms:5000 timeout_ms:1000 healthy_threshold:2 ` +
			`unhealthy_threshold:3`,
	} {
		all := []Traffic{trafficOf(t, "  healthCheck: "+spec+"\n")}
		use := UseOf(all, Scope{"shop", "web", "http"}, "shop")
		text := prototext.MarshalOptions{}.Format(use.Check)
		if got := strings.Join(strings.Fields(text), " "); got != want || use.Checker.Name != "p" {
			t.Errorf("%s\n got %s, of %v\nwant %s", spec, got, use.Checker, want)
		}
	}
	bounded := trafficOf(t, "  adaptiveConcurrency: {minRequests: 2, maxRequests: 90, "+
		"bufferPercent: 50, percentile: 90, window: 1s, baselineInterval: 2m, "+
		"baselineRequests: 20}\n")
	use := UseOf([]Traffic{bounded}, Scope{"shop", "web", "http"}, "shop")
	const want = "percentile:90 window_ms:1000 min_requests:2 max_requests:90 " +
		"buffer_percent:50 baseline_ms:120000 baseline_requests:20"
	text := prototext.MarshalOptions{}.Format(use.Concurrency)
	if got := strings.Join(strings.Fields(text), " "); got != want || use.Bounder.Name != "p" ||
		len(use.Origins) != 0 {
		t.Errorf("adaptive concurrency is\n%s of %v, want\n%s", got, use.Bounder, want)
	}
	budget := trafficOf(t, "  retryBudget: {retryRatio: 0.5, ttl: 5s}\n")
	use = UseOf([]Traffic{budget}, Scope{"shop", "web", ""}, "shop")
	if b := use.RetryBudget(); b.GetRetryRatio() != 0.5 || b.GetMinRetriesPerSecond() != 10 ||
		b.GetTtlMs() != 5000 || len(use.Origins) != 0 || use.Budgeter.Name != "p" {
		t.Errorf("the budget is %v, of %v", b, use.Budgeter)
	}
}

// about is a policy that says something of some scopes: of a balancer, b, of a slow start, s, and
// of a budget, r.
func about(namespace, name string, age int, sections string, scopes ...Scope) Traffic {
	out := Traffic{
		Origin: Origin{"g", "K", namespace, name}, Created: time.Unix(int64(1000-age), 0),
		Scopes: scopes, Cluster: &api.Cluster{},
	}
	if strings.Contains(sections, "b") {
		out.Cluster.Balancer = &api.Cluster_Random{Random: &api.Random{}}
	}
	if strings.Contains(sections, "s") {
		out.Cluster.SlowStart = &api.SlowStart{}
	}
	if strings.Contains(sections, "r") {
		out.Budget = &Budget{}
	}
	return out
}

// A Service may say that places do not matter, whatever its namespace says.
func TestAServiceMayPreferNone(t *testing.T) {
	service := trafficOf(t, "  locality: {prefer: None}\n")
	namespace := trafficOf(t, "  locality: {prefer: Zone}\n")
	namespace.Scopes = []Scope{{"shop", "", ""}}
	for want, all := range map[api.Nearness][]Traffic{
		api.Nearness_NEARNESS_ZONE:        {namespace},
		api.Nearness_NEARNESS_UNSPECIFIED: {namespace, service},
	} {
		c := &api.Cluster{}
		UseOf(all, Scope{"shop", "web", "http"}, "client").Set(c)
		if got := c.LocalityPreference.GetPrefer(); got != want {
			t.Errorf("of %d policies %v is preferred, want %v", len(all), got, want)
		}
	}
}

func TestPrecedenceOfTraffic(t *testing.T) {
	port, service := Scope{"shop", "web", "http"}, Scope{"shop", "web", ""}
	namespace := Scope{"shop", "", ""}
	for _, c := range []struct {
		name   string
		all    []Traffic
		caller string
		want   string // the origins of the cluster, then that of the budget; * for a consumer's
	}{
		{"nothing", nil, "client", "none"},
		{"another service's", []Traffic{about("shop", "a", 1, "b", Scope{"shop", "db", ""})},
			"client", "none"},
		{"another port's", []Traffic{about("shop", "a", 1, "b", Scope{"shop", "web", "admin"})},
			"client", "none"},
		{"the namespace's", []Traffic{about("shop", "a", 1, "br", namespace)}, "client", "a a"},
		{"the service's before", []Traffic{about("shop", "a", 9, "bsr", namespace),
			about("shop", "b", 1, "b", service)}, "client", "b,a a"},
		{"the port's before", []Traffic{about("shop", "a", 9, "b", namespace),
			about("shop", "b", 8, "bs", service), about("shop", "c", 1, "br", port)},
			"client", "c,b c"},
		{"the oldest of one target", []Traffic{about("shop", "a", 1, "b", service),
			about("shop", "b", 2, "s", service)}, "client", "b "},
		{"of equally old ones the first by name", []Traffic{about("shop", "b", 1, "b", service),
			about("shop", "a", 1, "s", service)}, "client", "a "},
		{"the consumer's alone", []Traffic{about("shop", "a", 9, "bsr", port, namespace),
			about("client", "z", 1, "b", namespace)}, "client", "*z "},
		{"the consumer's port before its service's",
			[]Traffic{about("client", "y", 9, "bs", service), about("client", "z", 1, "b", port)},
			"client", "*z,y "},
		{"not for others", []Traffic{about("shop", "a", 9, "b", service),
			about("client", "z", 1, "b", service)}, "third", "a "},
		{"nor for the producer's own", []Traffic{about("client", "z", 1, "b", service)}, "shop",
			"none"},
	} {
		if got := originsOf(UseOf(c.all, port, c.caller)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func originsOf(u *Use) string {
	if u == nil {
		return "none"
	}
	var names []string
	for _, o := range u.Origins {
		names = append(names, o.Name)
	}
	out := fmt.Sprintf("%s %s", strings.Join(names, ","), u.Budgeter.Name)
	if u.Consumers {
		return "*" + out
	}
	return out
}

// Without a policy proxies go by their defaults.
func TestNoTraffic(t *testing.T) {
	var none *Use
	c := &api.Cluster{}
	none.Set(c)
	if c.GetEwma() == nil || c.SlowStart != nil || c.Limits != nil || c.OutlierDetection != nil ||
		none.RetryBudget() != nil {
		t.Errorf("no policy says %v", c)
	}
}
