package manifest

import (
	"maps"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tulle-mesh/tulle/identity/names"
)

// monitored is an installation that is read by the operator's Prometheus: its monitors, and its
// servers' pods and Services.
func monitored(t *testing.T) (monitors map[string]*unstructured.Unstructured,
	pods []corev1.PodTemplateSpec, services []*corev1.Service,
) {
	t.Helper()
	c := testConfig()
	c.Prometheus = Prometheus{Namespace: "monitoring", Monitors: true,
		Labels: map[string]string{"release": "prometheus"}}
	monitors = map[string]*unstructured.Unstructured{}
	for _, object := range Objects(c) {
		switch o := object.(type) {
		case *unstructured.Unstructured:
			monitors[o.GetKind()+" "+o.GetName()] = o
			if o.GetLabels()["release"] != "prometheus" || o.GetLabels()[partOf] != names.Mesh {
				t.Errorf("%s has labels %v", o.GetName(), o.GetLabels())
			}
		case *appsv1.Deployment:
			pods = append(pods, o.Spec.Template)
		case *corev1.Service:
			services = append(services, o)
		}
	}
	return monitors, pods, services
}

func selects(selector map[string]any, labels map[string]string) bool {
	want, _, _ := unstructured.NestedStringMap(selector, "matchLabels")
	for name, value := range want {
		if labels[name] != value {
			return false
		}
	}
	return len(want) > 0
}

// What monitors select is there, with a port of the name that they read.
func TestMonitorsFindWhatTheyRead(t *testing.T) {
	monitors, pods, services := monitored(t)
	want := []string{"PodMonitor tulle-control-plane", "PodMonitor tulle-proxies",
		"ServiceMonitor tulle-viz"}
	if got := slices.Sorted(maps.Keys(monitors)); !slices.Equal(got, want) {
		t.Fatalf("monitors: %v", got)
	}
	port := func(name, endpoints string) string {
		all, _, _ := unstructured.NestedSlice(monitors[name].Object, "spec", endpoints)
		port, _ := all[0].(map[string]any)["port"].(string)
		return port
	}
	selector := func(name string) map[string]any {
		one, _, _ := unstructured.NestedMap(monitors[name].Object, "spec", "selector")
		return one
	}
	for _, pod := range pods {
		names := []string{}
		for _, p := range pod.Spec.Containers[0].Ports {
			names = append(names, p.Name)
		}
		if !selects(selector(want[0]), pod.Labels) ||
			!slices.Contains(names, port(want[0], "podMetricsEndpoints")) {
			t.Errorf("a server's pod with ports %v is not read", names)
		}
	}
	found := 0
	for _, s := range services {
		if selects(selector(want[2]), s.Labels) {
			found++
			if p := s.Spec.Ports[len(s.Spec.Ports)-1]; p.Name != port(want[2], "endpoints") {
				t.Errorf("%s: its port is %s", want[2], p.Name)
			}
		}
	}
	if found != 1 {
		t.Errorf("%s selects %d Services", want[2], found)
	}
}

// Nobody gets monitors who did not ask: without the operator's kinds kubectl could not apply them.
func TestMonitorsOnlyWhereTheyAreAskedFor(t *testing.T) {
	c := testConfig()
	c.Prometheus.Namespace = "monitoring"
	for _, object := range Objects(c) {
		if o, ok := object.(*unstructured.Unstructured); ok {
			t.Errorf("%s %s", o.GetKind(), o.GetName())
		}
	}
}
