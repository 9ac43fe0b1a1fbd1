package injector

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	kyaml "sigs.k8s.io/yaml"
)

func testConfig() Config {
	return Config{
		Version: "v1", TrustDomain: "cluster.local", Namespace: "tulle",
		ProxyImage: "tulle/mesh-proxy:v1",
	}
}

func awkward(t testing.TB) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob("testdata/awkward/*")
	if err != nil || len(names) < 20 {
		t.Fatalf("awkward texts: %d, %v", len(names), err)
	}
	texts := map[string][]byte{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(name)] = text
	}
	return texts
}

// The whole contract of `meshctl inject` on text, over every awkward file.
func TestInjectTextThenUninjectGivesBackTheInput(t *testing.T) {
	for name, text := range awkward(t) {
		t.Run(name, func(t *testing.T) {
			out, reports, err := InjectText(testConfig(), name, text)
			if err != nil {
				t.Fatal(err)
			}
			changed := slices.ContainsFunc(reports, func(r Report) bool { return r.Reason == "" })
			if bytes.Equal(out, text) == changed {
				t.Errorf("text changed: %v, reports: %v", !changed, reports)
			}
			if !isSubsequence(text, out) {
				t.Errorf("the input's bytes are not all in the output:\n%s", out)
			}
			back, _, err := UninjectText(name, out)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(back, text) {
				t.Errorf("uninject gave\n%q\nwant\n%q", back, text)
			}
			again, _, err := InjectText(testConfig(), name, out)
			if err != nil || !bytes.Equal(again, out) {
				t.Errorf("a second injection changed the text (%v)", err)
			}
		})
	}
}

// isSubsequence forgives the literals that were replaced and are remembered: null and ~.
func isSubsequence(want, text []byte) bool {
	i := 0
	without := strings.NewReplacer("annotations\": null", "annotations\": ",
		"initContainers: null", "initContainers: ", "labels: ~", "labels: ")
	for _, b := range []byte(without.Replace(string(want))) {
		j := bytes.IndexByte(text[i:], b)
		if j < 0 {
			return false
		}
		i += j + 1
	}
	return true
}

// What the text means afterwards is what the webhook would have made of it.
func TestInjectedTextMeansTheTypedMutation(t *testing.T) {
	for name, text := range awkward(t) {
		t.Run(name, func(t *testing.T) {
			out, _, err := InjectText(testConfig(), name, text)
			if err != nil {
				t.Fatal(err)
			}
			before, after := templates(t, text), templates(t, out)
			if len(before) != len(after) {
				t.Fatalf("%d templates became %d", len(before), len(after))
			}
			for i := range before {
				change, reason, err := Plan(testConfig(), before[i], nil)
				if err != nil || reason != "" {
					t.Fatalf("plan: %q %v", reason, err)
				}
				want, got := change.Apply(before[i]), after[i]
				delete(got.Annotations, annotationKeys)
				if !reflect.DeepEqual(normal(t, want), normal(t, got)) {
					t.Errorf("template %d: got\n%s\nwant\n%s", i, asYAML(t, got), asYAML(t, want))
				}
			}
		})
	}
}

// templates decodes the text with Kubernetes' own decoder, apart from the code under test.
func templates(t *testing.T, text []byte) []corev1.PodTemplateSpec {
	t.Helper()
	var out []corev1.PodTemplateSpec
	text = bytes.TrimPrefix(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\ufeff"))
	for _, doc := range strings.Split("\n"+string(text), "\n---") {
		doc = strings.TrimSuffix(doc, "...\n")
		var object any
		if err := kyaml.Unmarshal([]byte(doc), &object); err != nil {
			t.Fatalf("decode %q: %v", doc, err)
		}
		out = append(out, templatesOf(t, object)...)
	}
	return out
}

func templatesOf(t *testing.T, object any) []corev1.PodTemplateSpec {
	t.Helper()
	if items, ok := member(object, "items").([]any); ok {
		var out []corev1.PodTemplateSpec
		for _, item := range items {
			out = append(out, templatesOf(t, item)...)
		}
		return out
	}
	kind, _ := member(object, "kind").(string)
	version, _ := member(object, "apiVersion").(string)
	path := templatePath(version, kind)
	if path == nil {
		return nil
	}
	for _, key := range path {
		object = member(object, key)
	}
	var pod corev1.PodTemplateSpec
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &pod); err != nil {
		t.Fatal(err)
	}
	return []corev1.PodTemplateSpec{pod}
}

func normal(t *testing.T, pod corev1.PodTemplateSpec) any {
	t.Helper()
	text, err := json.Marshal(pod)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func asYAML(t *testing.T, v any) string {
	t.Helper()
	text, err := kyaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
