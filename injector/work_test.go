package injector

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// The work of injecting a text is as much as the text is long, and a document is not parsed again
// and again: only the input is, and what of the output is its own, once each.
func TestWorkGrowsWithTheText(t *testing.T) {
	few, fewBytes := work(t, 25)
	many, manyBytes := work(t, 100)
	if many > few*4*11/10 || manyBytes > fewBytes*4*11/10 {
		t.Errorf("25 documents take %d objects and %d bytes, 100 take %d and %d", few, fewBytes,
			many, manyBytes)
	}
	if each := many / 100; each > mostObjects {
		t.Errorf("a document takes %d objects, want %d at most", each, mostObjects)
	}
}

// mostObjects are those of both parsings of a document, the second without the lines that all get,
// and as many for all the rest.
const mostObjects = 1300

// work is how many objects, and bytes, are allocated for the injection of so many Deployments.
func work(t *testing.T, documents int) (objects, bytes uint64) {
	t.Helper()
	var text strings.Builder
	for i := range documents {
		fmt.Fprintf(&text, "---\napiVersion: apps/v1\nkind: Deployment\n"+
			"metadata:\n  name: web-%d\n"+
			"spec:\n  template:\n    metadata: {labels: {app: web-%d}}\n    spec:\n"+
			"      containers:\n      - name: app\n        image: example.com/app:1.2.3\n"+
			"        ports: [{name: http, containerPort: 8080}]\n", i, i)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, reports, err := InjectText(testConfig(), "f.yaml", []byte(text.String()))
	runtime.ReadMemStats(&after)
	if err != nil || len(reports) != documents {
		t.Fatalf("%d of %d: %v", len(reports), documents, err)
	}
	return after.Mallocs - before.Mallocs, after.TotalAlloc - before.TotalAlloc
}
