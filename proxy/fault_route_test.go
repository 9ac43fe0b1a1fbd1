package proxy_test

import (
	"net/http"
	"testing"
	"time"
)

// A fault that a rule of a route refers to befalls the requests that go by it, and no others.
func TestAFaultOfARule(t *testing.T) {
	m := newMesh(t, 0)
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	m.write("fault.yaml", "apiVersion: tulle.dev/v1alpha1\nkind: FaultInjection\n"+
		"metadata: {namespace: shop, name: harm}\nspec: {abort: {status: 418}, until: "+
		`"`+until+`"}`)
	m.httpRoute(`matches: [{path: {value: /harmed}}], filters: [{type: ExtensionRef, `+
		`extensionRef: {group: tulle.dev, kind: FaultInjection, name: harm}}]`,
		`matches: [{path: {value: /broken}}], filters: [{type: ExtensionRef, `+
			`extensionRef: {group: tulle.dev, kind: FaultInjection, name: none}}]`,
		"matches: [{path: {value: /}}]")
	url, _, _ := m.pair(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	c := http1Client(t)
	for path, want := range map[string]int{"/harmed/x": 418, "/broken": 500, "/": 200} {
		if status, _, header := get(t, c, url+path); status != want {
			t.Errorf("%s: %d, %v; want %d", path, status, header, want)
		}
	}
}
