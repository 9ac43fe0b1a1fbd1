package injector

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/identity/names"
)

// sized is what both containers of an injected pod ask for and may use, and the proxy's GOMEMLIMIT.
func sized(t *testing.T, c Config, pod, namespace map[string]string) string {
	t.Helper()
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: pod}}
	change, reason, err := Plan(c, template, namespace)
	if err != nil {
		return err.Error()
	}
	if reason != "" || len(change.InitContainers) != 2 {
		t.Fatalf("left alone, %q: %+v", reason, change)
	}
	var all []string
	for _, container := range change.InitContainers {
		r := container.Resources
		one := r.Requests.Cpu().String() + "/" + r.Limits.Cpu().String() + " " +
			r.Requests.Memory().String() + "/" + r.Limits.Memory().String()
		if all = append(all, one); one != all[0] {
			t.Errorf("the containers differ: %s", all)
		}
		for _, e := range container.Env {
			if e.Name == "GOMEMLIMIT" {
				all = append(all, e.Value)
			}
		}
	}
	return strings.Join(all[1:], " ")
}

func TestResourcesAreSetByFlagNamespaceAndPod(t *testing.T) {
	const (
		cpu, memory = names.AnnotationProxyCPULimit, names.AnnotationProxyMemoryLimit
		cpuRequest  = names.AnnotationProxyCPURequest
	)
	flags := Resources{CPULimit: "2", MemoryRequest: "50Mi", MemoryLimit: "500Mi"}
	for name, tt := range map[string]struct {
		flags          Resources
		pod, namespace map[string]string
		want           string
	}{
		"nothing said": {Resources{}, nil, nil, "10m/0 20Mi/128Mi 102MiB"},
		"flags":        {flags, nil, nil, "10m/2 50Mi/500Mi 400MiB"},
		"namespace": {flags, nil, map[string]string{cpu: "1", cpuRequest: "0.5"},
			"500m/1 50Mi/500Mi 400MiB"},
		"pod": {flags, map[string]string{cpu: "700m", memory: "1Gi"},
			map[string]string{cpu: "1", memory: "1Mi"}, "10m/700m 50Mi/1Gi 819MiB"},
		"no quantity": {Resources{}, map[string]string{cpu: "much"}, nil,
			`annotation tulle.dev/proxy-cpu-limit: "much" is no quantity such as 500m`},
		"below zero": {Resources{}, nil, map[string]string{cpuRequest: "-1"},
			`annotation tulle.dev/proxy-cpu-request: "-1" is no quantity such as 100m`},
		"more asked for than may be used": {flags, map[string]string{memory: "40Mi"}, nil,
			"annotation tulle.dev/proxy-memory-request: 50Mi is more than " +
				"proxy-memory-limit, 40Mi"},
		"too little": {Resources{}, map[string]string{memory: "24Mi"}, nil,
			"annotation tulle.dev/proxy-memory-limit: 24Mi is less than the 32Mi " +
				"that a proxy needs"},
	} {
		c := testConfig()
		c.Resources = tt.flags
		if got := sized(t, c, tt.pod, tt.namespace); got != tt.want {
			t.Errorf("%s: %s\nwant %s", name, got, tt.want)
		}
	}
}
