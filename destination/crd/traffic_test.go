package crd

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

const trafficHeader = "apiVersion: tulle.dev/v1alpha1\nkind: BackendTrafficPolicy\nmetadata:\n" +
	"  name: web\nspec:\n  targetRefs: [{kind: Service, name: web}]\n"

func trafficOf(text string) (*BackendTrafficPolicy, error) {
	docs, err := Documents("f.yaml", []byte(text))
	if err != nil {
		return nil, err
	}
	return docs[0].BackendTrafficPolicy()
}

func TestTrafficErrorsNameFileLineAndField(t *testing.T) {
	hash := trafficHeader + "  loadBalancer:\n    type: ConsistentHash\n    consistentHash:\n"
	for name, c := range map[string]struct{ yaml, want string }{
		"unknown field": {trafficHeader + "  loadBalancers: {type: Random}\n",
			`f.yaml:7: unknown field "spec.loadBalancers"`},
		"nothing": {trafficHeader, "f.yaml:5: spec: Required value: set at least one of"},
		"no target": {strings.Replace(trafficHeader, "{kind: Service, name: web}", "", 1) +
			"  loadBalancer: {type: Random}\n", "f.yaml:6: spec.targetRefs: Required value"},
		"a target of another kind": {strings.Replace(trafficHeader, "Service", "Pod", 1) +
			"  loadBalancer: {type: Random}\n",
			`f.yaml:6: spec.targetRefs[0].kind: Unsupported value: "Pod"`},
		"a port of a Namespace": {strings.Replace(trafficHeader, "kind: Service,",
			"kind: Namespace, sectionName: http,", 1) + "  loadBalancer: {type: Random}\n",
			"f.yaml:6: spec.targetRefs[0]: Forbidden: a Namespace has neither"},
		"a name that cannot be": {strings.Replace(trafficHeader, "name: web}", "name: a.b}", 1) +
			"  loadBalancer: {type: Random}\n", "spec.targetRefs[0].name"},
		"an unknown balancer": {trafficHeader + "  loadBalancer: {type: Fast}\n",
			`f.yaml:7: spec.loadBalancer.type: Unsupported value: "Fast"`},
		"another type's section": {trafficHeader +
			"  loadBalancer:\n    type: Random\n    leastRequest: {choices: 3}\n",
			"f.yaml:9: spec.loadBalancer.leastRequest: Forbidden"},
		"too many choices": {trafficHeader +
			"  loadBalancer: {type: LeastRequest, leastRequest: {choices: 33}}\n",
			"spec.loadBalancer.leastRequest.choices: Invalid value: 33: must be between 2 and 32"},
		"a hash without keys": {trafficHeader + "  loadBalancer: {type: ConsistentHash}\n",
			"spec.loadBalancer.consistentHash: Required value"},
		"a hash of nothing": {hash + "      keys: []\n",
			"f.yaml:10: spec.loadBalancer.consistentHash.keys: Required value"},
		"two keys in one": {hash + "      keys:\n      - {header: a, query: b}\n",
			"f.yaml:11: spec.loadBalancer.consistentHash.keys[0]: Required value: set exactly one"},
		"a header of the mesh's": {hash + "      keys: [{header: Tulle-Client-Id}]\n",
			"consistentHash.keys[0].header: Invalid value"},
		"a header that cannot be": {hash + "      keys: [{header: \"a b\"}]\n",
			"consistentHash.keys[0].header: Invalid value"},
		"a cookie's path": {hash + "      keys: [{cookie: {name: a, path: b}}]\n",
			"keys[0].cookie.path"},
		"a cookie's life": {hash + "      keys: [{cookie: {name: a, ttl: 9601h}}]\n",
			"keys[0].cookie.ttl"},
		"two tables": {hash + "      keys: [{source: {}}]\n      ring: {}\n      maglev: {}\n",
			"set one of ring and maglev"},
		"a ring upside down": {hash + "      keys: [{source: {}}]\n" +
			"      ring: {minSize: 2048, maxSize: 1025}\n", "consistentHash.ring.maxSize"},
		"a table that is no prime": {hash + "      keys: [{source: {}}]\n" +
			"      maglev: {tableSize: 65536}\n", "must be a prime"},
		"the square of a prime": {hash + "      keys: [{source: {}}]\n" +
			"      maglev: {tableSize: 1042441}\n", "must be a prime"},
		"no preference": {trafficHeader + "  locality: {}\n",
			"f.yaml:7: spec.locality.prefer: Unsupported value"},
		"another spillover": {trafficHeader + "  locality: {prefer: Zone, spillover: Never}\n",
			"spec.locality.spillover: Unsupported value"},
		"failover of none": {trafficHeader +
			"  locality: {prefer: None, failover: [{zone: a}]}\n",
			"spec.locality.failover: Forbidden"},
		"failover to nowhere": {trafficHeader + "  locality: {prefer: Zone, failover: [{}]}\n",
			"spec.locality.failover[0]: Required value: say a region"},
		"a zone that cannot be": {trafficHeader +
			"  locality: {prefer: Zone, failover: [{zone: \"a b\"}]}\n",
			"spec.locality.failover[0].zone: Invalid value"},
		"a subset of few": {trafficHeader + "  subset: {size: 9}\n",
			"f.yaml:7: spec.subset.size: Invalid value: 9: must be between 10 and 10000"},
		"a subset of a hash": {hash + "      keys: [{source: {}}]\n  subset: {size: 100}\n",
			"spec.subset: Forbidden: callers that know different endpoints"},
		"no window": {trafficHeader + "  slowStart: {}\n",
			"f.yaml:7: spec.slowStart.window: Required value"},
		"a window without a unit": {trafficHeader + "  slowStart:\n    window: \"30\"\n",
			"f.yaml:8: spec.slowStart.window"},
		"aggression": {trafficHeader + "  slowStart: {window: 30s, aggression: 0}\n",
			"spec.slowStart.aggression: Invalid value: 0: must be between 0.1 and 10"},
		"no bound": {trafficHeader + "  circuitBreaker: {}\n",
			"spec.circuitBreaker: Required value"},
		"a bound of 0": {trafficHeader + "  circuitBreaker: {maxRetries: 0}\n",
			"spec.circuitBreaker.maxRetries: Invalid value: 0"},
		"no detector": {trafficHeader + "  outlierDetection: {baseEjectionTime: 1s}\n",
			"spec.outlierDetection: Required value"},
		"a share of requests": {trafficHeader +
			"  outlierDetection: {successRate: {thresholdPercent: 101}}\n",
			"spec.outlierDetection.successRate.thresholdPercent"},
		"ejections upside down": {trafficHeader + "  outlierDetection:\n" +
			"    consecutiveFailures: 5\n    baseEjectionTime: 1m\n    maxEjectionTime: 10s\n",
			"f.yaml:10: spec.outlierDetection.maxEjectionTime"},
		"a budget": {trafficHeader + "  retryBudget: {retryRatio: 2}\n",
			"spec.retryBudget.retryRatio"},
		"timeouts of nothing": {trafficHeader + "  timeouts: {}\n",
			"f.yaml:7: spec.timeouts: Required value: set at least one of request, perTry"},
		"a timeout of more than a day": {trafficHeader + "  timeouts: {perTry: 25h}\n",
			"spec.timeouts.perTry: Invalid value"},
		"a hedge at once": {trafficHeader + "  hedge: {after: 1ms}\n",
			"spec.hedge.after: Invalid value"},
		"no check": {trafficHeader + "  healthCheck: {interval: 1s}\n",
			"f.yaml:7: spec.healthCheck: Required value: set exactly one of http, grpc, tcp"},
		"two checks": {trafficHeader + "  healthCheck: {tcp: {}, grpc: {}}\n",
			"spec.healthCheck: Required value"},
		"a check of no path": {trafficHeader + "  healthCheck: {http: {path: live}}\n",
			"spec.healthCheck.http.path: Invalid value"},
		"a host with a port": {trafficHeader +
			"  healthCheck: {http: {path: /, host: \"a:80\"}}\n", "spec.healthCheck.http.host"},
		"statuses upside down": {trafficHeader + "  healthCheck:\n    http:\n      path: /\n" +
			"      expectedStatuses:\n      - {min: 300, max: 200}\n",
			"f.yaml:11: spec.healthCheck.http.expectedStatuses[0]"},
		"a check without a pause": {trafficHeader + "  healthCheck: {tcp: {}, interval: 10ms}\n",
			"spec.healthCheck.interval"},
		"a timeout beyond the interval": {trafficHeader +
			"  healthCheck: {tcp: {}, interval: 1s, timeout: 2s}\n",
			"spec.healthCheck.timeout: Invalid value: \"2s\": timeout must not be more"},
		"a threshold of 0": {trafficHeader + "  healthCheck: {tcp: {}, healthyThreshold: 0}\n",
			"spec.healthCheck.healthyThreshold: Invalid value: 0"},
		"a check of other namespaces' pods": {strings.Replace(strings.Replace(trafficHeader,
			"  name: web\n", "  name: web\n  namespace: a\n", 1),
			"name: web}", "name: web, namespace: shop}", 1) + "  healthCheck: {tcp: {}}\n",
			"spec.healthCheck: Forbidden: how pods are asked"},
		"another version": {strings.Replace(trafficHeader, "v1alpha1", "v1", 1),
			"apiVersion of a BackendTrafficPolicy must be tulle.dev/v1alpha1, not tulle.dev/v1"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := trafficOf(c.yaml); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestTrafficDefaults(t *testing.T) {
	p, err := trafficOf(trafficHeader + `
  loadBalancer:
    type: ConsistentHash
    consistentHash: {keys: [{header: x-user}], ring: {}}
  locality: {prefer: Zone}
  slowStart: {window: 30s}
  outlierDetection: {successRate: {thresholdPercent: 80}, deviation: {}}
  healthCheck: {http: {path: /live}}
  retryBudget: {}
`)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(p.Spec)
	const want = `{"targetRefs":[{"kind":"Service","name":"web"}],` +
		`"loadBalancer":{"type":"ConsistentHash","consistentHash":{"keys":[{"header":"x-user"}],` +
		`"ring":{"minSize":1024,"maxSize":65536}}},` +
		`"locality":{"prefer":"Zone","spillover":"Load"},` +
		`"slowStart":{"window":"30s","minWeightPercent":10,"aggression":1},` +
		`"outlierDetection":{` +
		`"successRate":{"thresholdPercent":80,"window":"10s","minRequests":5},` +
		`"deviation":{"factor":1.9,"interval":"10s","minEndpoints":5,"minRequests":100}},` +
		`"healthCheck":{"http":{"path":"/live"},"interval":"5s","timeout":"1s",` +
		`"healthyThreshold":2,"unhealthyThreshold":3},` +
		`"retryBudget":{"retryRatio":0.2,"minRetriesPerSecond":10,"ttl":"10s"}}`
	if err != nil || string(text) != want {
		t.Errorf("%v\n got %s\nwant %s", err, text, want)
	}
}

// What the API server fills in is what Default fills in, and nothing else.
func TestTrafficDefaultsAreTheSchemas(t *testing.T) {
	root := BackendTrafficPolicyCRD().Spec.Versions[0].Schema.OpenAPIV3Schema
	for _, sections := range []string{`
  loadBalancer: {type: LeastRequest, leastRequest: {}}
  locality: {prefer: Zone, failover: [{zone: a}]}
  slowStart: {window: 30s}
  outlierDetection: {successRate: {thresholdPercent: 80}, deviation: {}}
  retryBudget: {}
  timeouts: {request: 1s}
  hedge: {after: 5ms}
`, `
  loadBalancer: {type: ConsistentHash, consistentHash: {keys: [{source: {}}], maglev: {}}}
`, `
  loadBalancer: {type: ConsistentHash, consistentHash: {keys: [{source: {}}], ring: {}}}
`} {
		docs, err := Documents("f.yaml", []byte(trafficHeader+sections))
		if err != nil {
			t.Fatal(err)
		}
		p := &BackendTrafficPolicy{}
		if err := docs[0].Decode(p); err != nil {
			t.Fatal(err)
		}
		before := treeOf(t, p.Spec)
		p.Default()
		sameDefaults(t, "spec", root.Properties["spec"], before, treeOf(t, p.Spec))
	}
}

func treeOf(t *testing.T, v any) (tree map[string]any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, &tree)
	}
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func sameDefaults(t *testing.T, path string, schema schemaProps, before, after map[string]any) {
	for name, below := range schema.Properties {
		at := path + "." + name
		if had, ok := before[name].(map[string]any); ok {
			has, _ := after[name].(map[string]any)
			sameDefaults(t, at, below, had, has)
			continue
		}
		if before[name] != nil {
			continue
		}
		var want any
		if below.Default != nil {
			if err := json.Unmarshal(below.Default.Raw, &want); err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(after[name], want) {
			t.Errorf("%s is %v by default, and %v by the schema", at, after[name], want)
		}
	}
}

func TestTrafficSchemaHasTheFieldsOfTheTypes(t *testing.T) {
	root := BackendTrafficPolicyCRD().Spec.Versions[0].Schema.OpenAPIV3Schema.Properties
	sameFields(t, "spec", reflect.TypeFor[BackendTrafficPolicySpec](), root["spec"], 0)
	hash := root["spec"].Properties["loadBalancer"].Properties["consistentHash"]
	sameFields(t, "consistentHash", reflect.TypeFor[ConsistentHash](), hash, 0)
	sameFields(t, "status", reflect.TypeFor[BackendTrafficPolicy]().Field(3).Type, root["status"],
		0)
	data, err := json.Marshal(BackendTrafficPolicyCRD())
	if err != nil || len(data) > 200<<10 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

func TestPrimes(t *testing.T) {
	for n, want := range map[uint32]bool{
		1: false, 2: true, 251: true, 253: false, 65537: true, 65536: false, 1048573: true,
		1021 * 1021: false, 1019 * 1021: false,
	} {
		if isPrime(n) != want {
			t.Errorf("%d is a prime: %v", n, !want)
		}
	}
}
