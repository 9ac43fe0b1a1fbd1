package injector

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

// What becomes of a workload does not depend on those before it. Where they got the same lines, it
// is read back without them.
func TestALaterWorkloadIsInjectedAsTheFirst(t *testing.T) {
	twice := func(text []byte) []byte { return bytes.Join([][]byte{text, text}, []byte("---\n")) }
	tried := 0
	for name, text := range awkward(t) {
		if filepath.Ext(name) != ".yaml" || bytes.HasPrefix(text, []byte("\ufeff")) ||
			!bytes.HasSuffix(text, []byte("\n")) {
			continue // it cannot stand in the middle of a text
		}
		tried++
		one, _, err := InjectText(testConfig(), name, text)
		if err != nil {
			t.Fatal(err)
		}
		two, _, err := InjectText(testConfig(), name, twice(text))
		if err != nil || !bytes.Equal(two, twice(one)) {
			t.Errorf("%s: %v, out:\n%s", name, err, two)
			continue
		}
		if back, _, err := UninjectText(name, two); err != nil || !bytes.Equal(back, twice(text)) {
			t.Errorf("%s: uninject gave %q, %v", name, back, err)
		}
	}
	if tried < 15 {
		t.Errorf("only %d texts were tried", tried)
	}
}

// A workload that cannot be changed by itself is refused wherever it stands.
func TestALaterWorkloadIsRefusedAsTheFirst(t *testing.T) {
	const list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n" +
		"  spec: &s\n    containers: []\n"
	for good, bad := range map[string]string{
		podHead + "spec:\n  containers: []\n": podHead +
			"x: &v {volumes: [{name: v}]}\nspec:\n  <<: *v\n  containers: []\n",
		list: list + "- apiVersion: example.com/v1\n  kind: Other\n  spec: *s\n",
	} {
		text := good + "---\n" + good + "---\n" + bad
		out, _, err := InjectText(testConfig(), "f.yaml", []byte(text))
		if out != nil || err == nil || !strings.Contains(err.Error(), errOtherMeaning.Error()) {
			t.Errorf("%q: %v, out:\n%s", bad, err, out)
		}
		out, _, err = InjectText(testConfig(), "f.yaml", []byte(good+"---\n"+good))
		if err != nil || bytes.Count(out, []byte("name: tulle-redirect")) != 2 {
			t.Errorf("%q: %v, out:\n%s", good, err, out)
		}
	}
}
