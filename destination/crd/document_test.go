package crd

import (
	"encoding/json"
	"strings"
	"testing"
)

const header = "apiVersion: tulle.dev/v1alpha1\nkind: ServiceProfile\nmetadata:\n" +
	"  name: web.shop.svc.cluster.local\nspec:\n"

func TestServiceProfileErrorsNameFileLineAndField(t *testing.T) {
	condition := "  - name: a\n    condition: {method: GET}\n"
	cases := map[string]struct{ yaml, want string }{
		"unknown field": {header + "  routes:\n" + condition + "    isRetriable: true\n",
			`f.yaml:9: unknown field "spec.routes[0].isRetriable"`},
		"bad regex": {header + "  routes:\n  - name: a\n    condition:\n      pathRegex: /a(\n",
			`f.yaml:9: spec.routes[0].condition.pathRegex: Invalid value: ` +
				`"/a(": error parsing regexp: missing closing )`},
		"duration unit": {header + "  routes:\n" + condition + "    timeout: \"25\"\n",
			"f.yaml:9: spec.routes[0].timeout"},
		"duration number": {header + "  routes:\n" + condition + "    timeout: 25\n", "f.yaml:"},
		"negative duration": {header + "  routes:\n" + condition + "    timeout: -1s\n",
			"must be between 0s and 24h"},
		"no condition": {header + "  routes:\n  - name: a\n",
			"f.yaml:7: spec.routes[0].condition: Required value"},
		"no route name": {header + "  routes:\n  - condition: {method: GET}\n",
			"spec.routes[0].name: Required value"},
		"bad method": {header + "  routes:\n  - name: a\n    condition: {method: G T}\n",
			"spec.routes[0].condition.method"},
		"empty list": {header + "  routes:\n  - name: a\n    condition: {any: []}\n",
			"an empty list says nothing"},
		"too deep": {header +
			"  routes:\n  - name: a\n    condition: {not: {not: {not: {not: {method: GET}}}}}\n",
			"spec.routes[0].condition.not.not.not.not: Forbidden: conditions nest at most 3 deep"},
		"too many": {header + "  routes:\n  - name: a\n    condition: {any: [" +
			strings.Repeat("{method: GET},", 11) + "]}\n",
			"spec.routes[0].condition.any: Too many: 11: must have at most 10"},
		"status range": {header + "  routes:\n" + condition +
			"    responseClasses:\n    - condition: {status: {min: 500, max: 400}}\n",
			"f.yaml:10: spec.routes[0].responseClasses[0].condition.status.max"},
		"no status": {header + "  routes:\n" + condition + "    responseClasses:\n" +
			"    - condition: {status: {min: 99}}\n", "must be an HTTP status, 100 to 599"},
		"ratio": {header + "  retryBudget:\n    retryRatio: 1.5\n",
			"f.yaml:7: spec.retryBudget.retryRatio: Invalid value: 1.5: must be between 0 and 1"},
		"ttl": {header + "  retryBudget: {ttl: 2m}\n", "spec.retryBudget.ttl"},
		"authority": {header + "  dstOverrides:\n  - authority: a:b\n    weight: 1\n",
			"f.yaml:7: spec.dstOverrides[0].authority: Invalid value: \"a:b\": port \"b\" must " +
				"be a number"},
		"no weight": {header + "  dstOverrides: [{authority: a, weight: 0}]\n",
			"at least one weight must be above 0"},
		"negative weight": {header +
			"  dstOverrides: [{authority: a, weight: -1}, {authority: b, weight: 1}]\n",
			"spec.dstOverrides[0].weight"},
		"opaque port": {header + "  opaquePorts: [6379, 10-5]\n", "spec.opaquePorts[1]"},
		"hedge unretried": {header + "  routes:\n" + condition + "    hedge: {after: 50ms}\n",
			"f.yaml:9: spec.routes[0].hedge: Forbidden: only a route with isRetryable: true"},
		"hedge never": {header + "  routes:\n" + condition +
			"    isRetryable: true\n    hedge: {}\n",
			"f.yaml:10: spec.routes[0].hedge.after: Required value: such as 50ms"},
		"hedge at no percentile": {header + "  routes:\n" + condition +
			"    isRetryable: true\n    hedge: {after: 50ms, percentile: 100}\n",
			"f.yaml:10: spec.routes[0].hedge.percentile: Invalid value: 100: must be from 50"},
		"hedge at once": {header + "  routes:\n" + condition + "    isRetryable: true\n" +
			"    hedge:\n      after: 4ms\n",
			"f.yaml:11: spec.routes[0].hedge.after: Invalid value: \"4ms\": must be between 5ms " +
				"and 24h"},
		"linkerd's group": {strings.Replace(header, "tulle.dev/v1alpha1", "linkerd.io/v1alpha2", 1),
			"apiVersion of a ServiceProfile must be tulle.dev/v1alpha1, not linkerd.io/v1alpha2"},
		"name": {strings.Replace(header, "web.shop", "web_shop", 1), "f.yaml:4: metadata.name"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			docs, err := Documents("f.yaml", []byte(c.yaml))
			if err != nil {
				t.Fatal(err)
			}
			_, err = docs[0].ServiceProfile()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestServiceProfileIsLinkerds(t *testing.T) {
	docs, err := Documents("f.yaml", []byte(header+`
  routes:
  - name: GET /books/{id}
    condition:
      method: GET
      pathRegex: /books/[^/]*
    isRetryable: true
    timeout: 250ms
    responseClasses:
    - condition: {status: {min: 500}}
      isFailure: true
    - condition: {all: [{status: {min: 400, max: 499}}, {not: {status: {min: 429, max: 429}}}]}
  retryBudget: {retryRatio: 0.5}
  dstOverrides:
  - {authority: web-v1.shop.svc.cluster.local, weight: 900m}
  - {authority: "web-v2.shop.svc.cluster.local:8080", weight: 100m}
  opaquePorts: [6379, "7000-7010"]
`))
	if err != nil {
		t.Fatal(err)
	}
	profile, err := docs[0].ServiceProfile()
	if err != nil {
		t.Fatal(err)
	}
	budget := profile.Budget()
	if *budget.RetryRatio != 0.5 || *budget.MinRetriesPerSecond != 10 || budget.TTL != "10s" {
		t.Errorf("budget is %v", budget)
	}
	if w := profile.Spec.DstOverrides[0].Weight.MilliValue(); w != 900 {
		t.Errorf("weight is %d thousandths", w)
	}
	if none := (&ServiceProfile{}).Budget(); *none.RetryRatio != 0.2 {
		t.Errorf("default ratio is %v", *none.RetryRatio)
	}
}

func TestDocumentsSayWhereTheyBreak(t *testing.T) {
	cases := map[string]struct{ yaml, want string }{
		"syntax in a second document": {"apiVersion: v1\nkind: Pod\n---\na: b\n c: d\n",
			"f.yaml:5: "},
		"duplicate key": {"apiVersion: v1\nkind: Pod\nkind: Pod\n", "f.yaml:3: "},
		"a list":        {"# comment\n- a\n", "f.yaml:2: a document must be an object"},
		"a word":        {"hello", "f.yaml:1: a document must be an object"},
		"no kind": {"---\n---\napiVersion: v1\n",
			"f.yaml:3: apiVersion and kind must be set"},
		"garbage": {"\x00\x01\xff", "f.yaml"},
		"two documents on one line": {"apiVersion: v1\nkind: Pod\n--- {kind: Pod}\n",
			"f.yaml:3: apiVersion and kind must be set"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Documents("f.yaml", []byte(c.yaml))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestDocumentsKeepLines(t *testing.T) {
	docs, err := Documents("f.yaml", []byte("# nothing\n---\napiVersion: v1\nkind: Pod\n---\n\n"+
		"---\r\n# c\napiVersion: v1\nkind: Service\n"))
	if err != nil || len(docs) != 2 {
		t.Fatalf("%d documents, %v", len(docs), err)
	}
	if docs[0].Line != 3 || docs[0].Kind != "Pod" || docs[1].Line != 9 ||
		docs[1].Kind != "Service" {
		t.Errorf("documents are %v", docs)
	}
}

func FuzzDocuments(f *testing.F) {
	f.Add([]byte(header))
	f.Add([]byte("a: &a [*a]\n---\nx"))
	f.Add([]byte("<<: {apiVersion: v1}\nkind: ServiceProfile"))
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, err := Documents("f.yaml", data)
		if err != nil {
			return
		}
		for _, doc := range docs {
			profile, err := doc.ServiceProfile()
			if err == nil && len(profile.DeepCopy().Validate()) != 0 {
				t.Error("an accepted profile does not validate")
			}
		}
	})
}

// A profile as large as it may be validates; one byte more is refused, and says what to do.
func TestTheSizeOfAProfileIsBounded(t *testing.T) {
	p := &ServiceProfile{}
	p.Name = "web.shop.svc.cluster.local"
	size := func() int {
		text, err := json.Marshal(&p.Spec)
		if err != nil {
			t.Fatal(err)
		}
		return len(text)
	}
	long := &RequestMatch{PathRegex: strings.Repeat("r", MaxRegex)}
	list := []*RequestMatch{long, long, long, long, long, long, long}
	for range MaxRoutes {
		p.Spec.Routes = append(p.Spec.Routes, Route{Name: "n", Condition: &RequestMatch{Any: list}})
	}
	for i := range p.Spec.Routes {
		if size()+MaxRegex+len(`"pathRegex":"",`) <= MaxSpec {
			p.Spec.Routes[i].Condition.PathRegex = long.PathRegex
		}
	}
	for i := 1; size() < MaxSpec; i++ {
		pad := min(MaxSpec-size(), MaxRouteName-1)
		p.Spec.Routes[i].Name += strings.Repeat("n", pad)
	}
	if errs := p.Validate(); len(errs) > 0 {
		t.Errorf("%d bytes are refused: %v", size(), errs)
	}
	p.Spec.Routes[0].Name += "n"
	errs := p.Validate()
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "spec: Invalid value") ||
		!strings.Contains(errs[0].Error(), "use fewer routes") {
		t.Errorf("%d bytes: %v", size(), errs)
	}
}
