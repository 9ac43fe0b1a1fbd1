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
)

// definition is the CustomResourceDefinition of HTTPRoutes, which serves a version.
func definition(served, release string) runtime.Object {
	meta := map[string]any{"name": "httproutes.gateway.networking.k8s.io"}
	if release != "" {
		meta["annotations"] = map[string]any{"gateway.networking.k8s.io/bundle-version": release}
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": meta, "spec": map[string]any{"versions": []any{
			map[string]any{"name": "v1alpha2", "served": false},
			map[string]any{"name": served, "served": true},
		}},
	}}
}

// Who does not have the Gateway API is not told that it is wrong.
func TestCheckGatewayAPI(t *testing.T) {
	for name, c := range map[string]struct {
		object  runtime.Object
		verdict verdict
		text    string
	}{
		"none":       {nil, fine, "is not installed, and nothing needs it"},
		"today's":    {definition("v1", "v1.6.3"), fine, "can be used (v1.6.3)"},
		"a later":    {definition("v1", "v1.7.0-rc.1"), fine, "(v1.7.0-rc.1)"},
		"an old":     {definition("v1", "v1.1.0"), warning, "it is of release v1.1.0"},
		"no release": {definition("v1", ""), warning, `says "", which is no release`},
		"only beta":  {definition("v1beta1", "v0.8.1"), warning, "v1 is not served"},
	} {
		checker, _ := newChecker()
		scheme := runtime.NewScheme()
		checker.dynamic = dynamicfake.NewSimpleDynamicClient(scheme)
		if c.object != nil {
			checker.dynamic = dynamicfake.NewSimpleDynamicClient(scheme, c.object)
		}
		checker.checkGatewayAPI(t.Context())
		var out bytes.Buffer
		if err := checker.draw(&out, false); err != nil {
			t.Fatal(err)
		}
		got := checker.done[0].Findings[0].Verdict
		if got != c.verdict || !strings.Contains(out.String(), c.text) {
			t.Errorf("%s: %s\n%s", name, got, out.String())
		}
	}
}

func TestCheckGatewayAPIMustBeAble(t *testing.T) {
	checker, _ := newChecker()
	client := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(),
		map[schema.GroupVersionResource]string{})
	client.PrependReactor("get", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("forbidden")
	})
	checker.dynamic = client
	checker.checkGatewayAPI(t.Context())
	if n := checker.count(broken); n != 4 {
		t.Errorf("%d errors, want one for each kind", n)
	}
}
