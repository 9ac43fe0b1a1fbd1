package injector

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	jsonpatch "github.com/evanphx/json-patch/v5"
	dto "github.com/prometheus/client_model/go"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	proxyconfig "github.com/tulle-mesh/tulle/proxy/config"

	"github.com/tulle-mesh/tulle/identity/names"
)

func newWebhook(objects ...runtime.Object) (*webhook, *fake.Clientset) {
	client := fake.NewClientset(objects...)
	return &webhook{
		config: testConfig(), client: client, log: slog.New(slog.DiscardHandler),
		memory: newBudget(reviewMemory), counts: newCounts(),
	}, client
}

// results are what a webhook has counted.
func results(t *testing.T, w *webhook) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for _, result := range []string{resultInjected, resultSkipped, resultRefused,
		resultFailed} {
		var m dto.Metric
		if err := w.counts.WithLabelValues(result).Write(&m); err != nil {
			t.Fatal(err)
		}
		all[result] = m.GetCounter().GetValue()
	}
	return all
}

// What comes of a review is counted, so that somebody hears of pods that are not injected.
func TestReviewsAreCounted(t *testing.T) {
	hook, client := newWebhook(shop(nil))
	post(hook, review(t, `{"spec":{"containers":[{"name":"a"}]}}`, nil))
	post(hook, review(t, `{"metadata":{"annotations":{"tulle.dev/inject":"disabled"}},`+
		`"spec":{"containers":[{"name":"a"}]}}`, nil))
	post(hook, review(t, `{"metadata":{"annotations":{"tulle.dev/opaque-ports":"x"}},`+
		`"spec":{"containers":[{"name":"a"}]}}`, nil))
	client.PrependReactor("get", "namespaces",
		func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("the API server is away")
		})
	for range 2 {
		post(hook, review(t, `{"spec":{"containers":[{"name":"a"}]}}`, nil))
	}
	want := map[string]float64{resultInjected: 1, resultSkipped: 1, resultRefused: 1,
		resultFailed: 2}
	if got := results(t, hook); !reflect.DeepEqual(got, want) {
		t.Errorf("it has counted %v, want %v", got, want)
	}
}

func shop(annotations map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Annotations: annotations}}
}

// review is what the API server posts about a pod.
func review(t *testing.T, pod string, change func(*admissionv1.AdmissionRequest)) string {
	t.Helper()
	q := &admissionv1.AdmissionRequest{
		UID: "42", Namespace: "shop", Operation: admissionv1.Create,
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"},
		Object:   runtime.RawExtension{Raw: []byte(pod)},
	}
	if change != nil {
		change(q)
	}
	text, err := json.Marshal(admissionv1.AdmissionReview{
		TypeMeta: metav1.TypeMeta{APIVersion: "admission.k8s.io/v1", Kind: "AdmissionReview"},
		Request:  q,
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func post(hook http.Handler, body string) *httptest.ResponseRecorder {
	rw := httptest.NewRecorder()
	hook.ServeHTTP(rw, httptest.NewRequest(http.MethodPost, WebhookPath, strings.NewReader(body)))
	return rw
}

func response(t *testing.T, rw *httptest.ResponseRecorder) *admissionv1.AdmissionResponse {
	t.Helper()
	var out admissionv1.AdmissionReview
	err := json.Unmarshal(rw.Body.Bytes(), &out)
	if err != nil || rw.Code != 200 || out.Response == nil {
		t.Fatalf("status %d, %v: %s", rw.Code, err, rw.Body)
	}
	return out.Response
}

// A field that this version does not know must come through; the pod must be what Apply makes of
// it.
func TestWebhookPatchesThePodLikeApply(t *testing.T) {
	pods := map[string]string{
		"bare": `{"metadata":{},"spec":{"containers":[{"name":"a","image":"b"}]}}`,
		"full": `{"metadata":{"name":"p","annotations":{"a/b":"c"},"labels":{"x":"y"}},` +
			`"spec":{"initContainers":[{"name":"i"}],"containers":[{"name":"a"}],` +
			`"volumes":[{"name":"v"}],"future":{"deep":[1,2]}}}`,
		"empty": `{"metadata":{"annotations":{},"labels":{}},` +
			`"spec":{"initContainers":[],"containers":[],"volumes":[]}}`,
		// a copied label must not let the pod run without a proxy
		"copied": `{"metadata":{"annotations":{"tulle.dev/injected":"old"},` +
			`"labels":{"tulle.dev/mesh":"x"}},"spec":{"containers":[{"name":"a"}]}}`,
		"null": `{"metadata":{"annotations":null,"labels":null},` +
			`"spec":{"initContainers":null,"containers":null,"volumes":null}}`,
	}
	for name, pod := range pods {
		t.Run(name, func(t *testing.T) {
			hook, _ := newWebhook(shop(map[string]string{
				names.AnnotationSkipInbound: "9100", "unrelated": "x",
			}))
			answer := response(t, post(hook, review(t, pod, nil)))
			if !answer.Allowed || answer.UID != "42" || answer.PatchType == nil {
				t.Fatalf("answer: %+v", answer)
			}
			patch, err := jsonpatch.DecodePatch(answer.Patch)
			if err != nil {
				t.Fatal(err)
			}
			got, err := patch.Apply([]byte(pod))
			if err != nil {
				t.Fatal(err)
			}
			if name == "full" && !strings.Contains(string(got), `"future":{"deep":[1,2]}`) {
				t.Error("the patch dropped an unknown field")
			}
			var before, after corev1.PodTemplateSpec
			if err := errors.Join(json.Unmarshal([]byte(pod), &before),
				json.Unmarshal(got, &after)); err != nil {
				t.Fatal(err)
			}
			change, _, err := Plan(testConfig(), before,
				map[string]string{names.AnnotationSkipInbound: "9100"})
			if err != nil {
				t.Fatal(err)
			}
			if want := change.Apply(before); !reflect.DeepEqual(normal(t, want), normal(t, after)) {
				t.Errorf("got\n%s\nwant\n%s", asYAML(t, after), asYAML(t, want))
			}
			if after.Annotations[names.AnnotationSkipInbound] != "9100" {
				t.Error("the namespace's ports did not reach the pod")
			}
		})
	}
}

func TestWebhookLeavesPodsAlone(t *testing.T) {
	owned := `"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web-1",` +
		`"uid":"7","controller":true}]`
	for name, c := range map[string]struct {
		pod     string
		change  func(*admissionv1.AdmissionRequest)
		warning string
	}{
		"injected":  {pod: `{"spec":{"initContainers":[{"name":"tulle-proxy"}]}}`},
		"opted out": {pod: `{"metadata":{"annotations":{"tulle.dev/inject":"disabled"}}}`},
		"opted out by a switch's word": {
			pod: `{"metadata":{"annotations":{"tulle.dev/inject":"false"}}}`},
		"opted out by a label": {pod: `{"metadata":{"labels":{"tulle.dev/inject":"Disabled"}}}`},
		"host network": {pod: `{"metadata":{` + owned + `},"spec":{"hostNetwork":true}}`,
			warning: string(HostNetwork)},
		"proxy's uid": {pod: `{"metadata":{"generateName":"x-"},` +
			`"spec":{"containers":[{"securityContext":{"runAsUser":2102}}]}}`,
			warning: string(ProxyUID)},
		"control plane": {pod: `{}`, warning: string(ControlPlane),
			change: func(q *admissionv1.AdmissionRequest) { q.Namespace = "tulle" }},
		"dry run": {pod: `{"spec":{"hostNetwork":true}}`, warning: string(HostNetwork),
			change: func(q *admissionv1.AdmissionRequest) { q.DryRun = ptr(true) }},
	} {
		t.Run(name, func(t *testing.T) {
			hook, client := newWebhook(shop(nil))
			answer := response(t, post(hook, review(t, c.pod, c.change)))
			if !answer.Allowed || answer.Patch != nil {
				t.Errorf("answer: %+v", answer)
			}
			want := []string{"tulle: not injected: " + c.warning}
			if c.warning == "" {
				want = nil
			}
			if !reflect.DeepEqual(answer.Warnings, want) {
				t.Errorf("warnings %q, want %q", answer.Warnings, want)
			}
			for _, call := range client.Actions() {
				if call.GetVerb() != "get" {
					t.Errorf("a review, which anybody can forge, made it %s %s", call.GetVerb(),
						call.GetResource().Resource)
				}
			}
		})
	}
}

func TestWebhookRefusesAnnotationsThatMakeNoSense(t *testing.T) {
	for annotation, value := range map[string]string{
		names.AnnotationMode: "srict", names.AnnotationLogLevel: "loud",
		names.AnnotationAccessLog: "jsn", names.AnnotationProxyCPUs: "0",
		names.AnnotationSkipInbound: "80,x", names.AnnotationSkipOutbound: "70000",
		names.AnnotationOpaquePorts: "9-8", names.AnnotationInject: "fasle",
		names.AnnotationTrustedProxies: "10.0.0.0", names.AnnotationTraceSampling: "200%",
	} {
		hook, _ := newWebhook(shop(nil))
		answer := response(t, post(hook,
			review(t, `{"metadata":{"annotations":{"`+annotation+`":"`+value+`"}}}`, nil)))
		if answer.Allowed || !strings.Contains(answer.Result.Message, annotation) ||
			answer.Result.Code != 422 {
			t.Errorf("%s=%s: %+v", annotation, value, answer)
		}
	}
}

func TestWebhookRefusesWhatIsNoReview(t *testing.T) {
	with := func(change func(*admissionv1.AdmissionRequest)) string {
		return review(t, `{}`, change)
	}
	for name, c := range map[string]struct{ body, want string }{
		"nothing":   {"", "read admission review"},
		"no JSON":   {"kind: AdmissionReview", "read admission review"},
		"truncated": {review(t, `{}`, nil)[:60], "read admission review"},
		"another kind": {`{"apiVersion":"v1","kind":"Pod"}`,
			"want admission.k8s.io/v1 AdmissionReview"},
		"old version": {`{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview"}`,
			"want admission.k8s.io/v1"},
		"no request": {`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}`,
			"no request"},
		"no uid": {with(func(q *admissionv1.AdmissionRequest) { q.UID = "" }), "no uid"},
		"not about pods": {with(func(q *admissionv1.AdmissionRequest) {
			q.Resource.Resource = "services"
		}), "only pods are injected"},
		"no object": {with(func(q *admissionv1.AdmissionRequest) { q.Object.Raw = nil }),
			"no object"},
		"no pod": {review(t, `{"spec":"none"}`, nil), "read the pod"},
	} {
		hook, _ := newWebhook()
		if rw := post(hook, c.body); rw.Code != 400 || !strings.Contains(rw.Body.String(), c.want) {
			t.Errorf("%s: status %d %q, want 400 and %q", name, rw.Code, rw.Body, c.want)
		}
	}
	hook, _ := newWebhook()
	if rw := post(hook, strings.Repeat(" ", maxReview+1)); rw.Code != 413 ||
		!strings.Contains(rw.Body.String(), "too large") {
		t.Errorf("too large: status %d %q", rw.Code, rw.Body)
	}
	rw := httptest.NewRecorder()
	hook.ServeHTTP(rw, httptest.NewRequest(http.MethodGet, WebhookPath, nil))
	if rw.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", rw.Code)
	}
}

// An API server that cannot be asked for the namespace is our failure: the pod must not start with
// other settings.
func TestWebhookFailsWithoutTheNamespace(t *testing.T) {
	hook, client := newWebhook(shop(nil))
	client.PrependReactor("get", "namespaces",
		func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("away")
		})
	rw := post(hook, review(t, `{}`, nil))
	if rw.Code != 500 || !strings.Contains(rw.Body.String(), "away") {
		t.Errorf("status %d %q", rw.Code, rw.Body)
	}
}

func FuzzWebhook(f *testing.F) {
	f.Add(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview",` +
		`"request":{"uid":"1","namespace":"shop","resource":{"version":"v1","resource":"pods"},` +
		`"object":{"metadata":{"annotations":{"tulle.dev/mode":"strict"}},` +
		`"spec":{"containers":[{}]}}}}`)
	f.Add(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":null}`)
	f.Add(`[]`)
	hook, _ := newWebhook(shop(nil))
	f.Fuzz(func(t *testing.T, body string) {
		rw := post(hook, body)
		if rw.Code != 200 && rw.Code != 400 && rw.Code != 500 {
			t.Errorf("status %d", rw.Code)
		}
		if rw.Code != 200 {
			return
		}
		answer := response(t, rw)
		if answer.Patch == nil {
			return
		}
		if _, err := jsonpatch.DecodePatch(answer.Patch); err != nil {
			t.Errorf("patch %s: %v", answer.Patch, err)
		}
	})
}

// A port is called by its name among the pod's containers. A pod that says a name must have it; a
// namespace's name concerns those of its pods that do.
func TestPortsMayBeNamed(t *testing.T) {
	pod := corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "a", Ports: []corev1.ContainerPort{
			{Name: "metrics", ContainerPort: 9100}, {Name: "db", ContainerPort: 3306},
			{Name: "dns", ContainerPort: 53, Protocol: corev1.ProtocolUDP},
		}}},
		InitContainers: []corev1.Container{{Name: "b", Ports: []corev1.ContainerPort{
			{Name: "side", ContainerPort: 9200}}}},
	}}
	all := func(value string) map[string]string {
		return map[string]string{
			names.AnnotationSkipInbound: value, names.AnnotationSkipOutbound: value,
			names.AnnotationOpaquePorts: value,
		}
	}
	args := func(own, namespace string) string {
		if pod.Annotations = nil; own != "" {
			pod.Annotations = all(own)
		}
		change, _, err := Plan(testConfig(), pod, all(namespace))
		if err != nil {
			return err.Error()
		}
		return strings.Join(change.InitContainers[0].Args[1:], " ")
	}
	for _, c := range []struct{ own, namespace, want string }{
		{"metrics, 80,side,100-200", "",
			"--skip-inbound=4191,9100,80,9200,100-200 --skip-outbound=9100,80,9200,100-200"},
		{"", "metrics,nobodys", "--skip-inbound=4191,9100 --skip-outbound=9100"},
		{"", "nobodys", "--skip-inbound=4191"},
		{"nobodys", "", `no container has a TCP port "nobodys"`},
		{"dns", "", `no container has a TCP port "dns"`},
		{"", "0", `"0" must be a port`},
		{"", "Not_A_Name", `"Not_A_Name" must be a port`},
	} {
		if got := args(c.own, c.namespace); !strings.Contains(got, c.want) ||
			strings.HasPrefix(c.want, "--") && got != c.want {
			t.Errorf("pod %q, namespace %q: %s, want %s", c.own, c.namespace, got, c.want)
		}
	}
}

// A proxy that destination has told nothing yet must know the kubelet's probes, or the pod is
// killed.
func TestTheProxyIsToldThePodsProbes(t *testing.T) {
	var pod corev1.PodTemplateSpec
	text := `{"spec":{"containers":[{"name":"a","ports":[{"name":"web","containerPort":8080}],
		"readinessProbe":{"httpGet":{"path":"/ready?deep=1","port":"web"}},` +
		`"livenessProbe":{"grpc":{"port":9090}}},
		{"name":"b","livenessProbe":{"httpGet":{"path":"/a,b","port":8080}},
		"startupProbe":{"httpGet":{"scheme":"HTTPS","port":8443}},
		"lifecycle":{"postStart":{"httpGet":{"path":"/begin","port":8081}},` +
		`"preStop":{"httpGet":{"path":"/end?now","port":"web"}}}}]}}`
	if err := json.Unmarshal([]byte(text), &pod); err != nil {
		t.Fatal(err)
	}
	change, _, err := Plan(testConfig(), pod, nil)
	if err != nil {
		t.Fatal(err)
	}
	const want = "8080/a,b 8080/end 8080/ready 8081/begin 8443:tls " +
		"9090/grpc.health.v1.Health/Check"
	for _, c := range change.Apply(pod).Spec.InitContainers {
		for _, e := range c.Env {
			if e.Name == proxyconfig.EnvProbes && e.Value == want {
				return
			}
		}
	}
	t.Errorf("no container of %s is told %q", asYAML(t, change.Apply(pod)), want)
}

// What destination reads live is checked, on the namespace too, and not copied onto the pod, where
// it would hide the namespace's next change.
func TestLiveAnnotationsAreCheckedAndNotCopied(t *testing.T) {
	for _, level := range []string{"debug", "loud"} {
		hook, _ := newWebhook(shop(map[string]string{
			names.AnnotationLogLevel: level, names.AnnotationMode: "strict",
			names.AnnotationOpaquePorts: "3306", names.AnnotationProxyCPUs: "3",
		}))
		answer := response(t, post(hook, review(t, `{"metadata":{}}`, nil)))
		if answer.Allowed != (level == "debug") {
			t.Errorf("%s: %+v", level, answer)
		}
		patch := string(answer.Patch)
		for _, copied := range []string{"proxy-log-level", level, "tulle.dev/mode", "3306"} {
			if strings.Contains(patch, copied) {
				t.Errorf("%s is copied: %s", copied, patch)
			}
		}
		if answer.Allowed && !strings.Contains(patch, "proxy-cpus") {
			t.Errorf("what is about the containers is not: %s", patch)
		}
	}
}
