package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// found stands for a cluster whose Service is there: all are, but those that are called none.
func found(all []Backend) (out []*api.Backend) {
	for _, b := range all {
		one := &api.Backend{Cluster: where([]Backend{b}), Weight: uint32(b.Weight),
			Filters: b.Filters, Answer: b.Answer}
		if strings.HasPrefix(b.Host, "none.") {
			one = &api.Backend{Answer: b.Missing}
		}
		out = append(out, one)
	}
	return out
}

// mirrorsOf are the mirrors among filters, as proxies are told of them.
func mirrorsOf(filters []*api.Filter) string {
	var out []string
	for _, f := range filters {
		if m := f.GetMirror(); m != nil {
			out = append(out, fmt.Sprintf("%s %d/%d", m.Cluster, m.Numerator, m.Denominator))
		}
	}
	return strings.Join(out, ", ")
}

// A mirror's backend is read as any other is, and takes nothing from a rule that has others.
func TestMirrors(t *testing.T) {
	for _, c := range []struct{ name, mirrors, want, unresolved string }{
		{"all", `{backendRef: {name: v2, port: 80}}`, "v2.shop:80 100/100", ""},
		{"a percent", `{backendRef: {name: v2, port: 80}, percent: 7}`, "v2.shop:80 7/100", ""},
		{"a fraction", `{backendRef: {name: v2, port: 80}, ` +
			`fraction: {numerator: 5, denominator: 1000}}`, "v2.shop:80 5/1000", ""},
		{"a fraction of a hundred", `{backendRef: {name: v2, port: 80}, fraction: {numerator: 5}}`,
			"v2.shop:80 5/100", ""},
		{"of nothing", `{backendRef: {name: v2, port: 80}, percent: 0}`, "", ""},
		{"two", `{backendRef: {name: v2, port: 80}}; {backendRef: {name: v3, port: 81}}`,
			"v2.shop:80 100/100, v3.shop:81 100/100", ""},
		{"another namespace's", `{backendRef: {name: v2, namespace: other, port: 80}}`,
			"v2.other:80 100/100", ""},
		{"one that is not there", `{backendRef: {name: none, port: 80}}`, "", ""},
		{"another kind", `{backendRef: {kind: Bucket, name: b}}; {backendRef: {name: v2, port: 1}}`,
			"v2.shop:1 100/100", "InvalidKind b is a Bucket: backends are Services"},
	} {
		var filters []string
		for one := range strings.SplitSeq(c.mirrors, "; ") {
			filters = append(filters, "{type: RequestMirror, requestMirror: "+one+"}")
		}
		list := "filters: [" + strings.Join(filters, ", ") + "]"
		for _, kind := range []string{crd.HTTPRoute, crd.GRPCRoute} {
			for of, spec := range map[string]string{
				"a rule":    "rules: [{" + list + ", backendRefs: [{name: v1, port: 80}]}]",
				"a backend": "rules: [{backendRefs: [{name: v1, port: 80, " + list + "}]}]",
			} {
				w := httpRoute("r", 0, spec)
				w.kind = kind
				r := w.read(t)
				rule := Merge([]Route{r}, web80, "other").HTTP(found)[0]
				mirrors := mirrorsOf(rule.Filters)
				if of == "a backend" {
					mirrors = mirrorsOf(rule.Backends[0].Filters)
				}
				if mirrors != c.want || rule.Backends[0].Cluster != "v1.shop:80" || !r.Obeyed ||
					len(r.Dropped) > 0 {
					t.Errorf("%s, of %s of a %s: %q, want %q; dropped %v", c.name, of, kind,
						mirrors, c.want, r.Dropped)
				}
				var unresolved string
				for _, p := range r.Unresolved {
					unresolved += p.Reason + " " + p.Text
				}
				if unresolved != c.unresolved {
					t.Errorf("%s: unresolved %q, want %q", c.name, unresolved, c.unresolved)
				}
			}
		}
	}
	r := readHTTP(t, `rules: [{filters: [{type: RequestMirror, requestMirror: `+
		`{backendRef: {name: v2, port: 81}, percent: 0}}], backendRefs: [{name: v1, port: 80}]}]`)
	if len(r.Refs) != 2 || r.Refs[0].Port != 81 {
		t.Errorf("the route refers to %v", r.Refs)
	}
}
