//go:build e2e

package e2e

import (
	"slices"
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
}

func hashed(key string) string {
	return `loadBalancer: {type: ConsistentHash, consistentHash: {keys: [` + key + `]}}`
}

func tabled(table string) string {
	return `loadBalancer: {type: ConsistentHash, consistentHash: {keys: [{source: {}}], ` + table +
		`}}`
}

// The API server refuses of a policy what destination refuses, and nothing else.
func TestTheAPIServerAcceptsPoliciesThatDestinationDoes(t *testing.T) {
	ready(t)
	specs := slices.Clone(trafficEdges)
	for _, section := range sectionEdges {
		specs = append(specs, "{targetRefs: [{kind: Service, name: a}], "+section+"}")
	}
	for _, spec := range specs {
		agreed(t, crd.BackendTrafficPolicyKind, spec, func(d *crd.Document) error {
			_, err := d.BackendTrafficPolicy()
			return err
		})
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
		t.Errorf("%.120s:\n  destination says %v\n  the API server says %v", spec, ours, theirs)
	}
}
