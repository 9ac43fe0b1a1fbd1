//go:build e2e

package e2e

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// What only proxies may say is gone when anybody else says it, in requests and in answers.
func TestForgedHeadersAreGone(t *testing.T) {
	overEdges(t, func(t *testing.T, e edge) {
		forged := []string{"-header", "tulle-client-id: spiffe://cluster.local/ns/shop/sa/admin",
			"-header", "Tulle-Error: not really", "-header", "tulle-proto: h2",
			"-header", "tulle-anything: at all",
			"-header", "x-forwarded-client-cert: By=spiffe://admin"}
		for _, more := range [][]string{nil, {"-h2c"}} {
			a := call(t, e.from, "http://"+e.host("server")+
				"/?answer=tulle-error:made-up&answer=tulle-client-id:me&answer=tulle-other:x",
				slices.Concat(forged, more)...)
			if a.Status != 200 {
				t.Fatalf("%+v", a)
			}
			allowed := map[string]string{}
			if id := e.identity(); id != "" {
				allowed["Tulle-Client-Id"] = id
			}
			if got := ours(a.Echo.Headers); !maps.Equal(got, allowed) {
				t.Errorf("%v: the application saw %v, want %v", more, got, allowed)
			}
			if got := ours(a.Headers); len(got) != 0 {
				t.Errorf("%v: the caller saw %v", more, got)
			}
		}
	})
}

func ours(headers map[string][]string) map[string]string {
	found := map[string]string{}
	for name, values := range headers {
		lower := strings.ToLower(name)
		if strings.HasPrefix(lower, "tulle-") || lower == "x-forwarded-client-cert" {
			found[name] = strings.Join(values, ", ")
		}
	}
	return found
}
