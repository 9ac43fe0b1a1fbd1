package injector

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// The networks of front proxies reach the proxy from a pod's annotation, or else its namespace's.
func TestTrustedProxiesReachTheProxy(t *testing.T) {
	namespace := map[string]string{names.AnnotationTrustedProxies: "10.0.0.0/8, fd00::/8"}
	for own, want := range map[string]string{"": "10.0.0.0/8,fd00::/8",
		"192.0.2.7/32": "192.0.2.7/32"} {
		var pod corev1.PodTemplateSpec
		if own != "" {
			pod.Annotations = map[string]string{names.AnnotationTrustedProxies: own}
		}
		change, _, err := Plan(testConfig(), pod, namespace)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, c := range change.InitContainers {
			for _, e := range c.Env {
				if c.Name == names.ProxyContainer && e.Name == config.EnvTrustedProxies {
					got = e.Value
				}
			}
		}
		if got != want {
			t.Errorf("annotation %q: the proxy trusts %q, want %q", own, got, want)
		}
	}
}
