//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/crd"
)

// backendPolicy is a policy of a namespace's Service server.
func backendPolicy(sections string) string {
	return "apiVersion: tulle.dev/v1alpha1\nkind: BackendTrafficPolicy\n" +
		"metadata: {name: server}\nspec:\n  targetRefs: [{kind: Service, name: server}]\n" +
		sections
}

// trafficEdges are values about which the API server and destination might disagree.
var trafficEdges = []string{
	`{}`, `{targetRefs: [], loadBalancer: {type: Random}}`,
	`{targetRefs: [{kind: Service, name: a}]}`,
	`{targetRefs: [{group: core, kind: Service, name: a}], loadBalancer: {type: EWMA}}`,
	`{targetRefs: [{group: apps, kind: Service, name: a}], loadBalancer: {type: EWMA}}`,
	`{targetRefs: [{kind: Pod, name: a}], loadBalancer: {type: EWMA}}`,
	`{targetRefs: [{kind: Service, name: A}], loadBalancer: {type: EWMA}}`,
	`{targetRefs: [{kind: Service, name: a, namespace: b, sectionName: c}], ` +
		`slowStart: {window: 1s}}`,
	`{targetRefs: [{kind: Namespace, name: a, namespace: b}], slowStart: {window: 1s}}`,
	`{targetRefs: [{kind: Namespace, name: a, sectionName: b}], slowStart: {window: 1s}}`,
}

// sectionEdges are the same for sections of a policy whose target is right.
var sectionEdges = []string{
	`loadBalancer: {}`, `loadBalancer: {type: Fast}`,
	`loadBalancer: {type: Random, leastRequest: {choices: 2}}`,
	`loadBalancer: {type: LeastRequest}`, `loadBalancer: {type: LeastRequest, leastRequest: {}}`,
	`loadBalancer: {type: LeastRequest, leastRequest: {choices: 1}}`,
	`loadBalancer: {type: LeastRequest, leastRequest: {choices: 32}}`,
	`loadBalancer: {type: LeastRequest, leastRequest: {choices: 33}}`,
	`loadBalancer: {type: ConsistentHash}`,
	`loadBalancer: {type: Random, consistentHash: {keys: [{source: {}}]}}`,
	hashed(``), hashed(`{}`), hashed(`{source: {}}`), hashed(`{header: a, source: {}}`),
	hashed(`{header: ""}`), hashed(`{header: Tulle-x}`), hashed(`{header: "a b"}`),
	hashed(`{query: ""}`), hashed(`{query: "ä"}`), hashed(`{cookie: {}}`),
	hashed(`{cookie: {name: a, path: a}}`), hashed(`{cookie: {name: a, path: "/;"}}`),
	hashed(`{cookie: {name: a, path: "/ b", ttl: 9600h}}`), hashed(`{cookie: {name: a, ttl: 0s}}`),
	tabled(`ring: {}, maglev: {}`), tabled(`ring: {minSize: 65536}`),
	tabled(`ring: {minSize: 65537}`),
	tabled(`maglev: {tableSize: 65536}`), tabled(`maglev: {tableSize: 251}`),
	tabled(`maglev: {tableSize: 1042441}`), tabled(`maglev: {tableSize: 1048573}`),
	tabled(`maglev: {tableSize: 1048577}`), tabled(`boundedLoadPercent: 0`),
	tabled(`boundedLoadPercent: 1000`), tabled(`boundedLoadPercent: 1001`),
	`locality: {}`, `locality: {prefer: Zone}`, `locality: {prefer: Rack}`,
	`locality: {prefer: None}`, `locality: {prefer: None, failover: [{zone: a}]}`,
	`locality: {prefer: None, failover: []}`, `locality: {prefer: Zone, failover: []}`,
	`locality: {prefer: Node, spillover: Health}`, `locality: {prefer: Node, spillover: Never}`,
	`locality: {prefer: Zone, failover: [{}]}`, `locality: {prefer: Zone, failover: [{zone: ""}]}`,
	`locality: {prefer: Zone, failover: [{zone: a, region: A.b_c-1}]}`,
	`locality: {prefer: Zone, failover: [{zone: "a b"}]}`,
	`locality: {prefer: Zone, failover: [{zone: a-}]}`,
	`subset: {}`, `subset: {size: 9}`, `subset: {size: 10}`, `subset: {size: 10000}`,
	`subset: {size: 10001}`, `subset: {size: 10}, loadBalancer: {type: Random}`,
	`subset: {size: 10}, ` + hashed(`{source: {}}`),
	`slowStart: {}`, `slowStart: {window: ""}`, `slowStart: {window: 999ms}`,
	`slowStart: {window: 24h}`, `slowStart: {window: 24h1ns}`, `slowStart: {window: soon}`,
	`slowStart: {window: 1s, minWeightPercent: 0}`, `slowStart: {window: 1s, aggression: 0.09}`,
	`slowStart: {window: 1s, aggression: 0}`, `slowStart: {window: 1s, aggression: 1}`,
	`slowStart: {window: 1s, minWeightPercent: 100, aggression: 10}`,
	`circuitBreaker: {}`, `circuitBreaker: {maxRetries: 0}`, `circuitBreaker: {maxRetries: 1}`,
	`circuitBreaker: {maxRequests: 2147483647}`, `circuitBreaker: {maxRequests: 2147483648}`,
	`outlierDetection: {}`, `outlierDetection: {dryRun: true}`,
	`outlierDetection: {consecutiveFailures: 0}`, `outlierDetection: {successRate: {}}`,
	`outlierDetection: {successRate: {thresholdPercent: 1}}`,
	`outlierDetection: {successRate: {thresholdPercent: 101}}`,
	`outlierDetection: {successRate: {thresholdPercent: 1, window: 9ms}}`,
	`outlierDetection: {deviation: {}}`, `outlierDetection: {deviation: {factor: 0}}`,
	`outlierDetection: {deviation: {minEndpoints: 1}}`,
	`outlierDetection: {consecutiveFailures: 1, baseEjectionTime: 2s, maxEjectionTime: 1s}`,
	`outlierDetection: {consecutiveFailures: 1, baseEjectionTime: 1s, maxEjectionTime: 1s}`,
	`outlierDetection: {consecutiveFailures: 1, baseEjectionTime: 1s, maxEjectionTime: later}`,
	`healthCheck: {}`, `healthCheck: {tcp: {}}`, `healthCheck: {tcp: {}, grpc: {}}`,
	`healthCheck: {grpc: {service: a}, interval: 100ms}`, `healthCheck: {tcp: {}, interval: 99ms}`,
	`healthCheck: {tcp: {}, interval: 1s, timeout: 1001ms}`, `healthCheck: {tcp: {}, timeout: 6s}`,
	`healthCheck: {tcp: {}, timeout: later}`, `healthCheck: {tcp: {}, port: 0}`,
	`healthCheck: {tcp: {}, healthyThreshold: 101}`, `healthCheck: {http: {}}`,
	`healthCheck: {http: {path: a}}`, `healthCheck: {http: {path: "/a#b"}}`,
	`healthCheck: {http: {path: "/a?b=\"c"}}`, `healthCheck: {http: {path: "/a?b", host: "[::1]"}}`,
	`healthCheck: {http: {path: /, host: "a:80"}}`,
	`healthCheck: {http: {path: /, expectedStatuses: [{min: 200, max: 199}]}}`,
	`healthCheck: {http: {path: /, expectedStatuses: [{min: 200, max: 200}]}}`,
	`healthCheck: {http: {path: /, expectedStatuses: [{min: 100, max: 600}]}}`,
	`retryBudget: {}`, `retryBudget: {ttl: 61s}`,
	`timeouts: {}`, `timeouts: {request: ""}`, `timeouts: {request: 0s}`, `timeouts: {perTry: 24h}`,
	`timeouts: {perTry: 25h}`, `timeouts: {request: soon}`, `timeouts: {request: 1s, perTry: 2s}`,
	`hedge: {}`, `hedge: {after: 4ms}`, `hedge: {after: 5ms, percentile: 49}`,
	`hedge: {after: 50ms, percentile: 99}`,
	`adaptiveConcurrency: {}`, `adaptiveConcurrency: {minRequests: 0}`,
	`adaptiveConcurrency: {minRequests: 5, maxRequests: 4}`,
	`adaptiveConcurrency: {minRequests: 1001}`, `adaptiveConcurrency: {maxRequests: 2}`,
	`adaptiveConcurrency: {maxRequests: 1000001}`, `adaptiveConcurrency: {bufferPercent: 0}`,
	`adaptiveConcurrency: {bufferPercent: 1001}`, `adaptiveConcurrency: {percentile: 100}`,
	`adaptiveConcurrency: {window: 9ms}`, `adaptiveConcurrency: {window: 1m}`,
	`adaptiveConcurrency: {baselineInterval: 1h1s}`, `adaptiveConcurrency: {baselineRequests: 9}`,
}

func hashed(key string) string {
	return `loadBalancer: {type: ConsistentHash, consistentHash: {keys: [` + key + `]}}`
}

func tabled(table string) string {
	return `loadBalancer: {type: ConsistentHash, consistentHash: {keys: [{source: {}}], ` + table +
		`}}`
}

// limitEdges are the same for a RateLimitPolicy: its whole spec.
var limitEdges = []string{
	`{}`, `{targetRefs: [{kind: Service, name: a}]}`, targeted(``), targeted(`{}`),
	targeted(`{kind: Service, name: a}`), targeted(`{group: core, kind: Service, name: a}`),
	targeted(`{group: apps, kind: Service, name: a}`), targeted(`{kind: Secret, name: a}`),
	targeted(`{kind: Service, name: a, sectionName: http}`),
	targeted(`{kind: Service, name: A}`), targeted(`{kind: Service, name: a.b}`),
	targeted(`{kind: Service, name: a, sectionName: a.b}`),
	targeted(`{kind: Service, name: a` + strings.Repeat("b", 63) + `}`),
	targeted(routeRef(`HTTPRoute, name: a`)), targeted(routeRef(`GRPCRoute, name: a.b`)),
	targeted(routeRef(`HTTPRoute, name: a, sectionName: a.b`)),
	targeted(routeRef(`HTTPRoute, name: a, sectionName: A`)),
	targeted(routeRef(`HTTPRoute, name: a.`)),
	targeted(routeRef(`TCPRoute, name: a`)), targeted(routeRef(`Service, name: a`)),
	targeted(`{kind: HTTPRoute, name: a}`), targeted(`{group: core, kind: HTTPRoute, name: a}`),
	oneLimit(``), oneLimit(`name: a`), oneLimit(`name: a, requests: 1`),
	oneLimit(`name: a, window: 1s`), oneLimit(`name: "", requests: 1, window: 1s`),
	oneLimit(`name: ` + strings.Repeat("a", 64) + `, requests: 1, window: 1s`),
	oneLimit(`name: a, requests: 0, window: 1s`), oneLimit(`name: a, requests: -1, window: 1s`),
	oneLimit(`name: a, requests: 1000000000, window: 1s`),
	oneLimit(`name: a, requests: 1000000001, window: 1s`),
	oneLimit(`name: a, requests: 1, window: 999ms`), oneLimit(`name: a, requests: 1, window: 1h`),
	oneLimit(`name: a, requests: 1, window: 1h1ns`), oneLimit(`name: a, requests: 1, window: ""`),
	oneLimit(`name: a, requests: 1, window: soon`),
	rated(`burst: 0`), rated(`burst: -1`), rated(`burst: 1000000000`), rated(`burst: 1000000001`),
	rated(`mode: Shared`), rated(`mode: PerReplica`), rated(`mode: shared`),
	rated(`by: []`), rated(`by: [{}]`), rated(`by: [{identity: {}}, {header: a}, {path: {}}]`),
	rated(`by: [{identity: {}, path: {}}]`), rated(`by: [{header: ""}]`),
	rated(`by: [{header: "a b"}]`), rated(`by: [{header: Tulle-x}]`),
	rated(`by: [{header: a}, {header: b}, {header: c}, {header: d}, {header: e}]`),
	rated(`match: {}`), rated(`match: {path: {}}`), rated(`match: {path: {value: a}}`),
	rated(`match: {path: {type: RegularExpression, value: a}}`),
	rated(`match: {path: {type: RegularExpression, value: "("}}`),
	rated(`match: {path: {type: Fuzzy, value: /a}}`), rated(`match: {method: GET}`),
	rated(`match: {method: "G T"}`), rated(`match: {headers: [{name: a, value: b}]}`),
	rated(`match: {queryParams: [{name: a, type: RegularExpression, value: "["}]}`),
	`{targetRefs: [{kind: Service, name: a}], limits: [{name: a, requests: 1, window: 1s}, ` +
		`{name: a, requests: 2, window: 1s}]}`,
	`{targetRefs: [{kind: Service, name: a}], dryRun: true, ` +
		`limits: [{name: a, requests: 1, window: 1s}]}`,
	`{targetRefs: [{kind: Service, name: a}], limits: [` + strings.Repeat(`{}, `, 17) + `]}`,
}

func targeted(ref string) string {
	return `{targetRefs: [` + ref + `], limits: [{name: a, requests: 1, window: 1s}]}`
}

func routeRef(rest string) string {
	return `{group: gateway.networking.k8s.io, kind: ` + rest + `}`
}

func oneLimit(limit string) string {
	return `{targetRefs: [{kind: Service, name: a}], limits: [{` + limit + `}]}`
}

func rated(rest string) string { return oneLimit(`name: a, requests: 1, window: 1s, ` + rest) }

// faultEdges are the same for a FaultInjection.
var faultEdges = []string{
	`{}`, faulty(``), faulty(`abort: {}`), faulty(`abort: {status: 503}`),
	faulty(`abort: {status: 399}`), faulty(`abort: {status: 400}`), faulty(`abort: {status: 599}`),
	faulty(`abort: {status: 600}`), faulty(`abort: {status: 503, percent: 0}`),
	faulty(`abort: {status: 503, percent: 0.0001}`), faulty(`abort: {status: 503, percent: 100}`),
	faulty(`abort: {status: 503, percent: 0.00001}`),
	faulty(`abort: {status: 503, percent: 100.1}`), faulty(`abort: {status: 503, percent: -1}`),
	faulty(`delay: {}`), faulty(`delay: {duration: 1s}`), faulty(`delay: {duration: 0s}`),
	faulty(`delay: {duration: 10m}`), faulty(`delay: {duration: 10m1ns}`),
	faulty(`delay: {duration: soon}`),
	faulty(`delay: {duration: 1s, percent: 50}`),
	faulty(`delay: {duration: 1s}, abort: {status: 503}`),
	faulty(`abort: {status: 503}, match: {path: {value: a}}`),
	faulty(`abort: {status: 503}, match: {method: GET}`),
	faulty(`abort: {status: 503}, from: []`), faulty(`abort: {status: 503}, from: [{}]`),
	faulty(`abort: {status: 503}, from: [{namespace: a}]`),
	faulty(`abort: {status: 503}, from: [{namespace: A}]`),
	faulty(`abort: {status: 503}, from: [{serviceAccount: a}]`),
	faulty(`abort: {status: 503}, from: [{namespace: a, serviceAccount: b}]`),
	`{targetRefs: [{kind: Service, name: a}], abort: {status: 503}}`,
	`{targetRefs: [{kind: Service, name: a}], abort: {status: 503}, until: tomorrow}`,
	`{targetRefs: [], abort: {status: 503}, until: "2030-01-01T00:00:00Z"}`,
	`{targetRefs: [` + routeRef(`HTTPRoute, name: a`) + `], abort: {status: 503}, ` +
		`until: "2030-01-01T00:00:00Z"}`,
}

func faulty(harm string) string {
	return `{targetRefs: [{kind: Service, name: a}], until: "2030-01-01T00:00:00Z", ` + harm + `}`
}

// The API server refuses of a policy what destination refuses, and nothing else.
func TestTheAPIServerAcceptsPoliciesThatDestinationDoes(t *testing.T) {
	ready(t)
	specs := slices.Clone(trafficEdges)
	for _, section := range sectionEdges {
		specs = append(specs, "{targetRefs: [{kind: Service, name: a}], "+section+"}")
	}
	agree(t, crd.BackendTrafficPolicyKind, specs, func(d *crd.Document) error {
		_, err := d.BackendTrafficPolicy()
		return err
	})
}

func TestTheAPIServerAcceptsRateLimitsThatDestinationDoes(t *testing.T) {
	ready(t)
	agree(t, crd.RateLimitPolicyKind, limitEdges, func(d *crd.Document) error {
		_, err := d.RateLimitPolicy()
		return err
	})
}

func TestTheAPIServerAcceptsFaultsThatDestinationDoes(t *testing.T) {
	ready(t)
	agree(t, crd.FaultInjectionKind, faultEdges, func(d *crd.Document) error {
		_, err := d.FaultInjection()
		return err
	})
}

// agree asks both of objects of a kind with these specs.
func agree(t *testing.T, kind string, specs []string, read func(*crd.Document) error) {
	t.Helper()
	for _, spec := range specs {
		agreed(t, kind, spec, read)
	}
}

// agreed checks that the API server says of an object of ours what destination says.
func agreed(t *testing.T, kind, spec string, read func(*crd.Document) error) {
	t.Helper()
	text := "apiVersion: tulle.dev/v1alpha1\nkind: " + kind + "\nmetadata: {name: edge}\nspec: " +
		spec + "\n"
	docs, ours := crd.Documents("policy.yaml", []byte(text))
	if ours == nil {
		ours = read(&docs[0])
	}
	_, theirs := try(text, "kubectl", "create", "--dry-run=server", "-n", byCLI, "-f", "-")
	if (ours == nil) != (theirs == nil) {
		t.Errorf("%s %.120s:\n  destination says %v\n  the API server says %v", kind, spec, ours,
			theirs)
	}
}
