package cli

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/version"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	fakediscovery "k8s.io/client-go/discovery/fake"
	"k8s.io/client-go/kubernetes/fake"
)

func newChecker(objects ...runtime.Object) (*checker, *fake.Clientset) {
	client := fake.NewClientset(objects...)
	a := &app{IOStreams: genericiooptions.NewTestIOStreamsDiscard(), version: "v1",
		meshSpace: "tulle"}
	return &checker{app: a, client: client}, client
}

func namespace(name string, labels map[string]string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
}

func pod(ns, name string, change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name,
		Labels: map[string]string{}, Annotations: map[string]string{}}}
	if change != nil {
		change(p)
	}
	return p
}

func withProxy(version string, ready bool) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Labels["tulle.dev/mesh"], p.Annotations["tulle.dev/injected"] = "tulle", version
		running := corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "tulle-proxy",
			Ready: ready, State: running}}
	}
}

// each check, against a cluster that has the fault it is for
func TestChecksFindTheirFaults(t *testing.T) {
	on := map[string]string{"tulle.dev/inject": "enabled"}
	two := int32(2)
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "tulle", Name: "tulle-viz"},
		Spec: appsv1.DeploymentSpec{Replicas: &two, Template: corev1.PodTemplateSpec{
			Spec: corev1.PodSpec{Containers: []corev1.Container{
				{Image: "r:5000/tulle/meshctl:v0"},
			}},
		}},
		Status: appsv1.DeploymentStatus{ReadyReplicas: 2},
	}
	waiting := pod("tulle", "tulle-identity-1", func(p *corev1.Pod) {
		p.Labels["app.kubernetes.io/name"] = "tulle-identity"
		state := corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
			Reason: "ImagePullBackOff", Message: "no such image",
		}}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{
			{Name: "tulle-identity", State: state},
		}
	})
	notReady := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "tulle", Name: "tulle-identity"},
	}
	trust := func(ns, text string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "tulle-trust"},
			Data: map[string]string{"ca.crt": text}}
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"},
		Spec: corev1.NodeSpec{PodCIDRs: []string{"10.1.0.0/24"}}}
	destination := func(args ...string) *appsv1.Deployment {
		d := deployment.DeepCopy()
		d.Name = "tulle-destination"
		d.Spec.Template.Spec.Containers[0].Args = args
		return d
	}
	at := func(ip string) *corev1.Pod {
		return pod("shop", "web", func(p *corev1.Pod) {
			withProxy("v1", true)(p)
			p.Status.PodIPs = []corev1.PodIP{{IP: ip}}
		})
	}
	for name, c := range map[string]struct {
		objects []runtime.Object
		check   func(*checker, context.Context)
		want    string // verdict, check and cause, as drawn
	}{
		"pod security": {[]runtime.Object{namespace("shop", map[string]string{
			"tulle.dev/inject": "enabled", "pod-security.kubernetes.io/enforce": "baseline"})},
			(*checker).checkPodSecurity, "× namespace shop admits the redirection's init " +
				"container\n    its Pod Security level is baseline"},
		"privileged": {[]runtime.Object{namespace("shop", on)}, (*checker).checkPodSecurity,
			"√ every namespace with injection admits"},
		"no deployment": {nil, (*checker).checkControlPlane, "× tulle-destination is ready"},
		"image missing": {[]runtime.Object{notReady, waiting}, (*checker).checkControlPlane,
			"0 of 1 pods are ready: tulle-identity-1: tulle-identity waits: ImagePullBackOff no " +
				"such image"},
		"version skew": {[]runtime.Object{deployment}, (*checker).checkControlPlane,
			"‼ tulle-viz has this meshctl's version\n    it is v0, meshctl is v1"},
		"no webhook": {nil, (*checker).checkWebhook,
			"× the webhook is configured\n    there is none"},
		"no trust": {nil, (*checker).checkIdentity, "× the trust roots are published"},
		"old trust": {[]runtime.Object{namespace("shop", nil), namespace("old", nil),
			namespace("none", nil), trust("shop", "now"), trust("old", "then")},
			func(c *checker, ctx context.Context) { c.checkTrustEverywhere(ctx, "now") },
			"× every namespace has the trust roots\n    missing or old in: none, old"},
		"proxy not ready": {[]runtime.Object{pod("shop", "web", withProxy("v1", false))},
			(*checker).checkProxies,
			"× every proxy is ready\n    shop/web: tulle-proxy runs and is not ready"},
		"proxy version": {[]runtime.Object{pod("shop", "web", withProxy("v0", true))},
			(*checker).checkProxies, "‼ every proxy has this meshctl's version\n    shop/web (v0)"},
		"unmeshed": {[]runtime.Object{namespace("shop", on), pod("shop", "old", nil)},
			(*checker).checkProxies, "‼ every pod has a proxy where injection is on\n" +
				"    shop/old: it was made before injection was on"},
		"a label that means nothing": {[]runtime.Object{
			namespace("shop", map[string]string{"tulle.dev/inject": "true"})},
			(*checker).checkProxies, "‼ every namespace's label tulle.dev/inject is enabled or " +
				"disabled\n    shop: \"true\""},
		"host network": {[]runtime.Object{namespace("shop", on),
			pod("shop", "node", func(p *corev1.Pod) { p.Spec.HostNetwork = true })},
			(*checker).checkProxies, "shop/node: host network"},
		"opted out": {[]runtime.Object{namespace("shop", on), pod("shop", "out",
			func(p *corev1.Pod) { p.Annotations["tulle.dev/inject"] = "disabled" })},
			(*checker).checkProxies, "√ every pod has a proxy where injection is on (1)"},
		"finished": {[]runtime.Object{pod("shop", "job", func(p *corev1.Pod) {
			withProxy("v0", false)(p)
			p.Status.Phase = corev1.PodSucceeded
		})}, (*checker).checkProxies, "√ every proxy is ready (1)"},
		"a pod in a node's network": {[]runtime.Object{node, destination(), at("10.1.0.7")},
			(*checker).checkNetworks, "√ the meshed pods' addresses are in the cluster's networks"},
		"a pod in no network": {[]runtime.Object{node, destination(), at("10.2.0.7")},
			(*checker).checkNetworks, "‼ the meshed pods' addresses are in the cluster's networks" +
				"\n    shop/web: 10.2.0.7"},
		"a pod in a network that install was told": {[]runtime.Object{
			node, destination("--cluster-networks=10.2.0.0/16,10.96.0.0/12"), at("10.2.0.7")},
			(*checker).checkNetworks, "√ the meshed pods' addresses are in the cluster's networks"},
		"already installed": {[]runtime.Object{&appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: "tulle", Name: "tulle-identity"}}},
			(*checker).checkAbsent, "‼ the control plane is not installed yet"},
	} {
		t.Run(name, func(t *testing.T) {
			checker, _ := newChecker(c.objects...)
			checker.begin("test")
			c.check(checker, t.Context())
			var out bytes.Buffer
			if err := checker.draw(&out, false); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(out.String(), c.want) {
				t.Errorf("drawn:\n%s\nwant %q", out.String(), c.want)
			}
			for _, cat := range checker.done {
				for _, f := range cat.Findings {
					if f.Verdict != fine && (f.Cause == "" || f.Next == "") {
						t.Errorf("%q has no cause or no next step", f.Check)
					}
				}
			}
		})
	}
}

func TestKubernetesVersion(t *testing.T) {
	for v, want := range map[version.Info]verdict{
		{Major: "1", Minor: "28", GitVersion: "v1.28.9"}:      broken,
		{Major: "1", Minor: "29+", GitVersion: "v1.29.1-gke"}: fine,
		{Major: "1", Minor: "34", GitVersion: "v1.34.4"}:      fine,
		{Major: "2", Minor: "0", GitVersion: "v2"}:            broken,
		{Major: "1", Minor: "x"}:                              broken,
	} {
		checker, client := newChecker()
		checker.begin("kubernetes-api")
		client.Discovery().(*fakediscovery.FakeDiscovery).FakedServerVersion = &v
		checker.checkVersion()
		if got := checker.done[0].Findings[0].Verdict; got != want {
			t.Errorf("%s: %s, want %s", v.GitVersion, got, want)
		}
	}
}

func TestFindingsCount(t *testing.T) {
	c, _ := newChecker()
	c.begin("x")
	c.ok("a")
	c.warn("b", "cause", "next")
	c.fail("c", "cause", "next")
	if c.count(broken) != 1 || c.count(warning) != 2 {
		t.Errorf("errors %d, warnings too %d", c.count(broken), c.count(warning))
	}
	var out bytes.Buffer
	if err := c.draw(&out, true); err != nil || strings.Contains(out.String(), "√") ||
		!strings.Contains(out.String(), "Found 1 error(s) and 1 warning(s).") {
		t.Errorf("short: %v\n%s", err, out.String())
	}
	text, err := json.Marshal(c.done)
	if err != nil || !strings.Contains(string(text),
		`{"check":"b","result":"warning","cause":"cause","next":"next"}`) {
		t.Errorf("JSON: %v %s", err, text)
	}
}

func TestLongListsAreCut(t *testing.T) {
	c, _ := newChecker()
	c.begin("x")
	c.listed("check", broken, slices.Repeat([]string{"pod"}, maxNamed+3), 20, "next")
	cause := c.done[0].Findings[0].Cause
	if strings.Count(cause, "pod") != maxNamed || !strings.HasSuffix(cause, "and 3 more") {
		t.Errorf("cause %q", cause)
	}
}

func TestSameCertificatesInAnyOrder(t *testing.T) {
	a, b := &x509.Certificate{Raw: []byte("a")}, &x509.Certificate{Raw: []byte("b")}
	if !sameCertificates([]*x509.Certificate{a, b}, []*x509.Certificate{b, a}) ||
		sameCertificates([]*x509.Certificate{a}, []*x509.Certificate{a, b}) {
		t.Error("compared wrongly")
	}
}
