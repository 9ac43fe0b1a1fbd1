package main

import (
	"fmt"
	"net"
	"strings"
)

// routeRules is how many rules the route has of which only the last matches.
const routeRules = 10

// users is how many keys the requests have for a consistent hash.
const users = 16

// policyRow is the two hops with policies, whose bar is beside the same without.
func policyRow() row {
	q := saturated
	q.path = ""
	for i := range users {
		q.paths = append(q.paths, fmt.Sprintf("/?user=%d", i))
	}
	return row{name: "policies-two", title: fmt.Sprintf("HTTP/2, two hops mTLS, 8x16 streams, "+
		"%d rules, rate limits, outlier detection and a consistent hash", routeRules),
		unit:  "req",
		shape: shape{hops: twoHops, front: "http2", middle: "http2", policies: somePolicies},
		work:  h2load(q), afresh: true}
}

// endpoints are the application's addresses: a second one is the same to the callee's proxy, which
// goes by the port, and another to the caller's.
func (s shape) endpoints(app string) []string {
	if s.policies != somePolicies {
		return []string{app}
	}
	_, port, _ := net.SplitHostPort(app)
	return []string{app, "127.0.0.2:" + port}
}

// policed are the objects: no request is refused or harmed by any.
func policed() string {
	var rules strings.Builder
	for i := range routeRules - 1 {
		fmt.Fprintf(&rules, "  - matches: [{path: {value: /other/%d}, method: GET, headers: "+
			"[{name: x-rule, value: \"%d\"}]}]\n    backendRefs: [{name: app, port: 80}]\n", i, i)
	}
	return `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {namespace: bench, name: rules}
spec:
  parentRefs: [{group: "", kind: Service, name: app}]
  rules:
` + rules.String() + `  - matches: [{path: {value: /}}]
    backendRefs: [{name: app, port: 80}]
---
apiVersion: tulle.dev/v1alpha1
kind: BackendTrafficPolicy
metadata: {namespace: bench, name: app}
spec:
  targetRefs: [{kind: Service, name: app}]
  loadBalancer:
    type: ConsistentHash
    consistentHash: {keys: [{query: user}], boundedLoadPercent: 100}
  outlierDetection: {consecutiveFailures: 5, successRate: {thresholdPercent: 80}, deviation: {}}
---
apiVersion: tulle.dev/v1alpha1
kind: RateLimitPolicy
metadata: {namespace: bench, name: app}
spec:
  targetRefs: [{kind: Service, name: app}]
  limits:
  - {name: total, requests: 1000000, window: 1s}
  - {name: by-caller, requests: 1000000, window: 1s, by: [{identity: {}}]}
`
}
