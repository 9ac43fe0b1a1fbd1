package main

import (
	"testing"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/files"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// What the mesh is told is understood, else the row would measure nothing.
func TestPoliciesAreUnderstood(t *testing.T) {
	objects, err := files.Parse("policies", []byte(policed()))
	if err != nil || len(objects) != 3 {
		t.Fatalf("%d objects, %v", len(objects), err)
	}
	for _, obj := range objects {
		p, ok := obj.(*registry.Policy)
		if !ok || p.Problem != "" {
			t.Errorf("%+v", obj)
			continue
		}
		if r, ok := p.Body.(*gatewayv1.HTTPRoute); ok && len(r.Spec.Rules) != routeRules {
			t.Errorf("%d rules", len(r.Spec.Rules))
		}
	}
}

// The same of what is sampled and logged.
func TestTelemetryIsUnderstood(t *testing.T) {
	objects, err := files.Parse("telemetry", []byte(telemetryOf("127.0.0.1:4317")))
	if err != nil || len(objects) != 1 {
		t.Fatalf("%d objects, %v", len(objects), err)
	}
	if p, ok := objects[0].(*registry.Policy); !ok || p.Problem != "" {
		t.Errorf("%+v", objects[0])
	}
}

// Others than a mesh have no part in a row with policies, and bare has none in any other.
func TestWhoIsToldPolicies(t *testing.T) {
	b := &bench{dir: t.TempDir()}
	if c, err := b.start(peer{name: "envoy"}, policyRow()); c != nil || err != nil {
		t.Errorf("%v, %v", c, err)
	}
	if c, err := b.start(bare("nowhere"), quickRows()[0]); c != nil || err != nil {
		t.Errorf("%v, %v", c, err)
	}
}
