package injector

import (
	"bytes"
	"strings"
	"testing"
)

const podHead = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"

// What cannot be read, or cannot be changed without touching something else, is refused with its
// place, and nothing comes out.
func TestTextThatIsRefused(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"not YAML":       {"a: b\nc: [1, 2\nd: e\n", "f.yaml:"},
		"tab":            {"a:\n\tb: c\n", "f.yaml:2:"},
		"template":       {"apiVersion: v1\n{{- if .Pod }}\nkind: Pod\n", "f.yaml:"},
		"not UTF-8":      {"a: b\nc: \xff\n", "f.yaml:2: not UTF-8"},
		"UTF-16":         {"\xff\xfea\x00", "f.yaml:1: not UTF-8"},
		"unknown anchor": {"a: *b\n", "unknown anchor"},
		"wrong type": {podHead + "spec: {hostNetwork: [1]}\n",
			`f.yaml:1: pod "a": read pod template`},
		"annotation": {"apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n" +
			"  annotations: {tulle.dev/mode: maybe}\n",
			`pod "a": annotation tulle.dev/mode: "maybe"`},
		"leftover label": {"apiVersion: v1\nkind: Pod\n" +
			"metadata: {name: a, labels: {tulle.dev/mesh: tulle}}\nspec: {containers: []}\n",
			"tulle.dev/mesh is set here already, though nothing was injected"},
		"leftover volume": {podHead + "spec: {containers: [], volumes: [{name: tulle-token}]}\n",
			"there is a volume tulle-token, but no proxy"},
		"leftover redirect": {podHead + "spec: {containers: [{name: tulle-redirect}]}\n",
			"there is a container tulle-redirect, but no proxy"},
		"spec is an alias": {"apiVersion: v1\nkind: Pod\nx-base: &s {containers: []}\n" +
			"metadata: {name: a}\nspec: *s\n", ""},
		"items as an alias": {"apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n" +
			"spec:\n  containers: [{name: a}]\n  initContainers: &i [{name: b}]\n  volumes: *i\n",
			"f.yaml:7: spec.volumes is an alias"},
		"template an alias": {"apiVersion: batch/v1\nkind: Job\nmetadata: {name: a}\nspec:\n" +
			"  x: &t {spec: {}}\n  template: *t\n", "template is not written here as a mapping"},
		"template merged": {"apiVersion: batch/v1\nkind: Job\n" +
			"metadata: {name: a}\nx: &s {template: {spec: {containers: []}}}\nspec:\n  <<: *s\n",
			"template is not written here as a mapping"},
		"shared template": {"apiVersion: v1\nkind: List\nitems:\n- {apiVersion: batch/v1, " +
			"kind: Job, metadata: {name: a}, spec: {template: &t {spec: {containers: []}}}}\n" +
			"- {apiVersion: example.com/v1, kind: Other, metadata: {name: b}, spec: *t}\n",
			"without aliases and merge keys"},
		"volumes merged": {podHead + "x: &v {volumes: [{name: v}]}\nspec:\n  <<: *v\n" +
			"  containers: []\n", "without aliases and merge keys"},
		"empty in flow": {"apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: }\n" +
			"spec: {containers: []}\n", "labels is empty here: write {} for it"},
		"scalar for a list": {podHead + "spec:\n  containers: []\n  volumes: none\n", "f.yaml:1:"},
		"duplicate document": {podHead + "spec: {containers: []}\nspec: {containers: []}\n",
			"f.yaml:"},
	} {
		t.Run(name, func(t *testing.T) {
			out, _, err := InjectText(testConfig(), "f.yaml", []byte(c.text))
			if c.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil {
				t.Fatalf("no error; out:\n%s", out)
			}
			if out != nil || !strings.Contains(err.Error(), c.want) ||
				!strings.HasPrefix(err.Error(), "f.yaml:") {
				t.Errorf("error %q, want %q", err, c.want)
			}
		})
	}
}

func TestSkipsAreReported(t *testing.T) {
	const deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web%s}\n" +
		"spec: {template: {metadata: {%s}, spec: {%s}}}\n"
	for reason, c := range map[Reason][3]string{
		HostNetwork:     {"", "", "hostNetwork: true"},
		Disabled:        {"", "annotations: {tulle.dev/inject: disabled}", ""},
		AlreadyInjected: {"", "", "initContainers: [{name: tulle-proxy}]"},
		ProxyUID:        {"", "", "securityContext: {runAsUser: 2102}"},
		Windows:         {"", "", "os: {name: windows}"},
		ControlPlane:    {", namespace: tulle", "", ""},
	} {
		filled := strings.Replace(deployment, "%s", c[0], 1)
		filled = strings.Replace(strings.Replace(filled, "%s", c[1], 1), "%s", c[2], 1)
		text := []byte(filled)
		out, reports, err := InjectText(testConfig(), "f.yaml", text)
		if err != nil || !bytes.Equal(out, text) || len(reports) != 1 ||
			reports[0] != (Report{"deployment", "web", reason}) {
			t.Errorf("%s: %v %v", reason, reports, err)
		}
	}
	out, reports, err := UninjectText("f.yaml", []byte(podHead))
	if err != nil || string(out) != podHead || reports[0].Reason != NotInjected {
		t.Errorf("uninject: %v %v", reports, err)
	}
}

// Whatever is thrown at it: no panic, and what comes out can be undone.
func FuzzInjectText(f *testing.F) {
	for _, text := range []string{
		podHead + "spec: {containers: []}\n",
		"apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: a\nspec:\n  template:\n" +
			"    spec:\n      containers:\n      - name: a\n        image: b\n",
		`{"apiVersion":"v1","kind":"Pod","metadata":{"labels":null},` +
			`"spec":{"volumes":[{"name":"a"}]}}`, "a: &a\n  b: *a\n",
		"apiVersion: v1\r\nkind: List\r\nitems:\r\n- kind: Pod\r\n  apiVersion: v1\r\n  spec:\r\n",
	} {
		f.Add([]byte(text))
	}
	for _, text := range awkward(f) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		out, _, err := InjectText(testConfig(), "f.yaml", text)
		if err != nil {
			return
		}
		if back, _, err := UninjectText("f.yaml", out); !bytes.Equal(out, text) &&
			(err != nil || !bytes.Equal(back, text)) {
			t.Errorf("uninject(inject(%q)) = %q, %v", text, back, err)
		}
		if _, _, err := UninjectText("f.yaml", text); err != nil {
			t.Logf("uninject: %v", err)
		}
	})
}
