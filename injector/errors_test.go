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
			"  annotations: {tulle.dev/mode: maybe}\nspec: {containers: []}\n",
			`pod "a": annotation tulle.dev/mode: "maybe"`},
		"inject label of a namespace": {"apiVersion: v1\nkind: Namespace\n" +
			"metadata: {name: a, labels: {tulle.dev/inject: enabeld}}\n",
			`namespace "a": label tulle.dev/inject: "enabeld" is not one of enabled, disabled`},
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
		OtherMesh:       {"", "", "containers: [{name: istio-proxy}]"},
		ControlPlane:    {", namespace: tulle", "", ""},
	} {
		filled := strings.Replace(deployment, "%s", c[0], 1)
		filled = strings.Replace(strings.Replace(filled, "%s", c[1], 1), "%s", c[2], 1)
		text := []byte(filled)
		out, reports, err := InjectText(testConfig(), "f.yaml", text)
		if err != nil || !bytes.Equal(out, text) || len(reports) != 1 ||
			reports[0] != (Report{Kind: "deployment", Name: "web", Reason: reason}) {
			t.Errorf("%s: %v %v", reason, reports, err)
		}
	}
	out, reports, err := UninjectText("f.yaml", []byte(podHead))
	if err != nil || string(out) != podHead || reports[0].Reason != NotInjected {
		t.Errorf("uninject: %v %v", reports, err)
	}
}

// Pods that cannot bear the proxy are told by what people write in them.
func TestPodsThatCannotBearIt(t *testing.T) {
	term := func(values string) string {
		return "{matchExpressions: [{key: kubernetes.io/os, operator: In, values: [" + values +
			"]}]}"
	}
	affinity := func(terms ...string) string {
		return "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: " +
			"{nodeSelectorTerms: [" + strings.Join(terms, ", ") + "]}}}"
	}
	for spec, want := range map[string]Reason{
		"nodeSelector: {kubernetes.io/os: windows}":               Windows,
		"nodeSelector: {beta.kubernetes.io/os: windows}":          Windows,
		"nodeSelector: {kubernetes.io/os: linux}":                 "",
		affinity(term("windows")):                                 Windows,
		affinity(term("windows"), term("windows")):                Windows,
		affinity(term("windows"), term("linux")):                  "",
		affinity(term("windows, linux")):                          "",
		"affinity: {nodeAffinity: {}}":                            "",
		"containers: [{name: app}, {name: linkerd-proxy}]":        OtherMesh,
		"initContainers: [{name: istio-proxy}]":                   OtherMesh,
		"containers: [{name: kuma-sidecar}]":                      OtherMesh,
		"containers: [{name: consul-dataplane}]":                  OtherMesh,
		"containers: [{name: app, image: example.com/istio-p:1}]": "",
	} {
		text := podHead + "spec: {" + spec + "}\n"
		out, reports, err := InjectText(testConfig(), "f.yaml", []byte(text))
		if err != nil || len(reports) != 1 || reports[0].Reason != want {
			t.Errorf("%s: %v %v", spec, reports, err)
		}
		if (string(out) == text) != (want != "") {
			t.Errorf("%s: became\n%s", spec, out)
		}
	}
}

// A patch, of kustomize for example, has a workload's kind and no pod that could be injected. It
// does not stop a whole folder.
func TestWhatHasNoPodIsLeftAlone(t *testing.T) {
	const service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n---\n"
	for _, spec := range []string{"spec: {replicas: 3}\n", "", "spec:\n",
		"spec: {template: {metadata: {labels: {a: b}}}}\n", "spec: {template: }\n",
		"spec:\n  template:\n    metadata: {}\n    spec:\n"} {
		text := service + "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n" + spec
		out, reports, err := InjectText(testConfig(), "f.yaml", []byte(text))
		want := Report{Kind: "deployment", Name: "web", Reason: NoPodSpec, Place: "f.yaml:5"}
		if err != nil || string(out) != text || len(reports) != 2 || reports[1] != want {
			t.Errorf("%q: %q %v %v", spec, out, reports, err)
		}
	}
}

// What kubectl reads is read, and as kubectl does.
func TestWhatKubectlReads(t *testing.T) {
	for name, text := range map[string]string{
		"JSON's escapes": `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", ` +
			`"annotations": {"rocket": "\ud83d\ude80 \uD83D\uDE80", "half": "\udc00", ` +
			`"text": "\\ud83d \" \u00e4"}}, "spec": {"containers": [{"name": "app"}]}}` + "\n",
		"JSON behind a mark": "\ufeff\n  {\"apiVersion\": \"v1\", \"kind\": \"Pod\", " +
			"\"metadata\": {\"name\": \"\\ud83d\\ude80\"}, " +
			"\"spec\": {\"containers\": [{\"name\": \"app\"}]}}\n",
		"the last of equal keys": podHead +
			"metadata:\n  name: b\n  labels: {a: b}\n  labels:\n    a: c\n" +
			"spec:\n  hostNetwork: true\n  containers: [{name: app}]\n" +
			"spec:\n  containers:\n  - name: app\n    image: a:1\n    image: a:2\n",
		"of equal keys in flow": podHead +
			"spec: {hostNetwork: true, containers: [{name: app}], hostNetwork: false}\n",
	} {
		out, reports, err := InjectText(testConfig(), "f.yaml", []byte(text))
		if err != nil || len(reports) != 1 || reports[0].Reason != "" {
			t.Errorf("%s: %v %v", name, reports, err)
			continue
		}
		if !bytes.Contains(out, []byte("tulle-proxy")) {
			t.Errorf("%s: not injected:\n%s", name, out)
		}
		if back, _, err := UninjectText("f.yaml", out); err != nil || string(back) != text {
			t.Errorf("%s: uninject gave %q, %v", name, back, err)
		}
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
