package crd

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

const goodLimits = `apiVersion: tulle.dev/v1alpha1
kind: RateLimitPolicy
metadata: {name: web, namespace: shop}
spec:
  targetRefs:
  - {kind: Service, name: web, sectionName: http}
  limits:
  - name: orders
    match:
      method: POST
      path: {type: Exact, value: /order}
      headers: [{name: X-Kind, type: RegularExpression, value: "a.*"}]
      queryParams: [{name: q, value: "1"}]
    by: [{identity: {}}, {header: X-User}, {path: {}}]
    requests: 60
    window: 1m
    burst: 10
  - {name: total, requests: 100, window: 1s, mode: PerReplica}
`

func TestRateLimitSchemaHasTheFieldsOfTheTypes(t *testing.T) {
	data, err := json.Marshal(RateLimitPolicyCRD())
	if err != nil || len(data) > 200<<10 {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	root := RateLimitPolicyCRD().Spec.Versions[0].Schema.OpenAPIV3Schema.Properties
	spec := reflect.TypeFor[RateLimitPolicySpec]()
	status := reflect.TypeFor[gatewayv1.PolicyStatus]()
	sameFields(t, "spec", spec, root["spec"], 0)
	sameFields(t, "status", status, root["status"], 2) // metav1's conditions are not ours to test
}

func TestRateLimitPolicyIsRead(t *testing.T) {
	docs, err := Documents("web.yaml", []byte(goodLimits))
	if err != nil {
		t.Fatal(err)
	}
	p, err := docs[0].RateLimitPolicy()
	if err != nil {
		t.Fatal(err)
	}
	a, b := p.Spec.Limits[0].Mode, p.Spec.Limits[1].Mode
	if a != RateShared || b != RatePerReplica {
		t.Errorf("the modes are %s and %s", a, b)
	}
}

const aRoute = "{group: gateway.networking.k8s.io, kind: HTTPRoute, name: web.v1, "

func TestARateLimitPolicyMayNameARoute(t *testing.T) {
	text := strings.Replace(goodLimits, "{kind: Service, name: web, sectionName: http}",
		aRoute+"sectionName: rule.one}", 1)
	docs, err := Documents("web.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	p, err := docs[0].RateLimitPolicy()
	if err != nil || !p.Spec.TargetRefs[0].IsRoute() {
		t.Errorf("%v, %v", p, err)
	}
}

// What is wrong is refused, by the field and its line.
func TestRateLimitPolicyIsValidated(t *testing.T) {
	for _, tt := range []struct{ from, to, want string }{
		{"kind: Service", "kind: Secret", "6: spec.targetRefs[0].kind"},
		{"{kind: Service", "{group: apps, kind: Service", "6: spec.targetRefs[0].kind"},
		{"name: web, sectionName", "name: \"\", sectionName", "6: spec.targetRefs[0].name"},
		{"{kind: Service", "{kind: HTTPRoute", "6: spec.targetRefs[0].group"},
		{"{kind: Service", "{group: core, kind: GRPCRoute", "6: spec.targetRefs[0].group"},
		{"{kind: Service, name: web, sectionName: http}", aRoute + "sectionName: A}",
			"6: spec.targetRefs[0].sectionName"},
		{"name: orders", "name: total", "18: spec.limits[1].name"},
		{"name: orders", "name: \"\"", "8: spec.limits[0].name"},
		{"name: orders", "name: " + strings.Repeat("n", 64), "8: spec.limits[0].name"},
		{"method: POST", "method: P ST", "10: spec.limits[0].match.method"},
		{"value: /order", "value: order", "11: spec.limits[0].match.path.value"},
		{"type: Exact", "type: Suffix", "11: spec.limits[0].match.path.type"},
		{"type: Exact, value: /order", "type: RegularExpression, value: \"(\"",
			"11: spec.limits[0].match.path.value"},
		{`"a.*"`, `"a("`, "12: spec.limits[0].match.headers[0].value"},
		{"name: X-Kind", `name: "X Kind"`, "12: spec.limits[0].match.headers[0].name"},
		{"{name: q,", "{name: q, type: Prefix,", "13: spec.limits[0].match.queryParams[0].type"},
		{"{identity: {}}", "{}", "14: spec.limits[0].by[0]"},
		{"{identity: {}}", "{identity: {}, path: {}}", "14: spec.limits[0].by[0]"},
		{"header: X-User", `header: "X User"`, "14: spec.limits[0].by[1].header"},
		{"[{identity: {}},", "[{identity: {}}, {path: {}}, {path: {}},", "14: spec.limits[0].by"},
		{"requests: 60", "requests: 0", "15: spec.limits[0].requests"},
		{"requests: 60", "requests: 1000000001", "15: spec.limits[0].requests"},
		{"window: 1m", "window: 500ms", "16: spec.limits[0].window"},
		{"window: 1m", "window: 61m", "16: spec.limits[0].window"},
		{"window: 1m", "window: \"\"", "16: spec.limits[0].window"},
		{"window: 1m", "window: soon", "16: spec.limits[0].window"},
		{"burst: 10", "burst: -1", "17: spec.limits[0].burst"},
		{"mode: PerReplica", "mode: Global", "18: spec.limits[1].mode"},
		{"mode: PerReplica", "mod: PerReplica", "18: unknown field"},
	} {
		if strings.Count(goodLimits, tt.from) != 1 {
			t.Fatalf("%q is not once in the document", tt.from)
		}
		docs, err := Documents("web.yaml", []byte(strings.Replace(goodLimits, tt.from, tt.to, 1)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = docs[0].RateLimitPolicy()
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %s", tt.to, err, tt.want)
		}
	}
	if empty := (&RateLimitPolicy{}).Validate(); len(empty) != 2 {
		t.Errorf("a policy that says nothing: %v", empty)
	}
}
