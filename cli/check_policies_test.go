package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/destination/crd"
)

// policyClient has one TelemetryPolicy, of which destination says something.
func policyClient(condition map[string]any) *dynamicfake.FakeDynamicClient {
	policy := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": crd.APIVersion, "kind": crd.TelemetryPolicyKind,
		"metadata": map[string]any{"namespace": "shop", "name": "quiet"},
	}}
	if condition != nil {
		policy.Object["status"] = map[string]any{"ancestors": []any{map[string]any{
			"ancestorRef": map[string]any{"name": "shop"}, "controllerName": "tulle.dev/mesh",
			"conditions": []any{condition}}}}
	}
	return dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{
			crd.BackendTrafficPolicyResource():  "BackendTrafficPolicyList",
			crd.RateLimitPolicyResource():       "RateLimitPolicyList",
			crd.FaultInjectionResource():        "FaultInjectionList",
			crd.TelemetryPolicyResource():       "TelemetryPolicyList",
			crd.ServiceLevelObjectiveResource(): "ServiceLevelObjectiveList",
		}, policy)
}

func TestChecksFindPoliciesThatDoNothing(t *testing.T) {
	said := func(kind, status, message string) map[string]any {
		return map[string]any{"type": kind, "status": status, "message": message,
			"reason": "Why", "lastTransitionTime": "2026-01-01T00:00:00Z"}
	}
	const name = "all telemetrypolicies are in force"
	for _, c := range []struct {
		condition map[string]any
		want      string
	}{
		{nil, "√ " + name + " (1)"},
		{said("Accepted", "True", "the policy is in use"), "√ " + name + " (1)"},
		{said("Accepted", "False", "it is ignored"),
			"‼ " + name + "\n    shop/quiet: it is ignored"},
		{said("Programmed", "False", "one of 2 rejects it"),
			"‼ " + name + "\n    shop/quiet: one of 2 rejects it"},
		{said("Programmed", "Unknown", "no proxy has asked"), "√ " + name + " (1)"},
	} {
		checker, _ := newChecker()
		checker.dynamic = policyClient(c.condition)
		checker.checkPolicies(t.Context())
		var out bytes.Buffer
		if err := checker.draw(&out, false); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), c.want) || checker.count(broken) != 0 {
			t.Errorf("%v:\n%s", c.condition, out.String())
		}
	}
}

func TestCheckPoliciesMustBeAble(t *testing.T) {
	checker, _ := newChecker()
	client := policyClient(nil)
	client.PrependReactor("list", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("forbidden")
	})
	checker.dynamic = client
	checker.checkPolicies(t.Context())
	if n := checker.count(broken); n != 5 {
		t.Errorf("%d errors, want one for each kind", n)
	}
}
