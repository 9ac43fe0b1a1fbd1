package injector

import (
	"cmp"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/tulle-mesh/tulle/identity/names"
)

// Resources are what each of the two containers that are added to a pod asks for and may use, as
// Kubernetes' quantities. An empty one is the default.
type Resources struct {
	CPURequest, CPULimit       string
	MemoryRequest, MemoryLimit string
}

// defaultResources: what an idle proxy uses, rounded up, for it idles at some 10 MiB; the limit
// holds the buffers of about a hundred stuck connections (at most 1 MiB each). There is no CPU
// limit: throttling would show up as latency.
var defaultResources = Resources{CPURequest: "10m", MemoryRequest: "20Mi", MemoryLimit: "128Mi"}

// leastMemory is what a proxy needs to start and to serve a few connections.
const leastMemory = "32Mi"

// annotated are the resources that a pod's annotations name.
func annotated(annotations map[string]string) Resources {
	return Resources{
		CPURequest:    annotations[names.AnnotationProxyCPURequest],
		CPULimit:      annotations[names.AnnotationProxyCPULimit],
		MemoryRequest: annotations[names.AnnotationProxyMemoryRequest],
		MemoryLimit:   annotations[names.AnnotationProxyMemoryLimit],
	}
}

// or takes from other what r does not say.
func (r Resources) or(other Resources) Resources {
	return Resources{
		CPURequest:    cmp.Or(r.CPURequest, other.CPURequest),
		CPULimit:      cmp.Or(r.CPULimit, other.CPULimit),
		MemoryRequest: cmp.Or(r.MemoryRequest, other.MemoryRequest),
		MemoryLimit:   cmp.Or(r.MemoryLimit, other.MemoryLimit),
	}
}

// Check says what is wrong with r as the defaults of all pods.
func (r Resources) Check() error {
	_, err := r.requirements()
	return err
}

// requirements are r and the defaults as a container has them.
func (r Resources) requirements() (corev1.ResourceRequirements, error) {
	r = r.or(defaultResources)
	out := corev1.ResourceRequirements{
		Requests: corev1.ResourceList{}, Limits: corev1.ResourceList{},
	}
	for _, q := range []struct {
		name, value, example string
		in                   corev1.ResourceList
		of                   corev1.ResourceName
	}{
		{"proxy-cpu-request", r.CPURequest, "100m", out.Requests, corev1.ResourceCPU},
		{"proxy-cpu-limit", r.CPULimit, "500m", out.Limits, corev1.ResourceCPU},
		{"proxy-memory-request", r.MemoryRequest, "64Mi", out.Requests, corev1.ResourceMemory},
		{"proxy-memory-limit", r.MemoryLimit, "256Mi", out.Limits, corev1.ResourceMemory},
	} {
		if q.value == "" {
			continue
		}
		n, err := resource.ParseQuantity(q.value)
		if err != nil || n.Sign() <= 0 {
			return out, fmt.Errorf("%s: %q is no quantity such as %s", q.name, q.value, q.example)
		}
		q.in[q.of] = n
	}
	return out, coherent(out)
}

// coherent refuses what the API server would refuse in each pod, and what a proxy cannot live by.
func coherent(r corev1.ResourceRequirements) error {
	for _, of := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
		request, limit := r.Requests[of], r.Limits[of]
		if !limit.IsZero() && request.Cmp(limit) > 0 {
			return fmt.Errorf("proxy-%[1]s-request: %[2]s is more than proxy-%[1]s-limit, %[3]s",
				of, request.String(), limit.String())
		}
	}
	if limit := r.Limits[corev1.ResourceMemory]; limit.Cmp(resource.MustParse(leastMemory)) < 0 {
		return fmt.Errorf("proxy-memory-limit: %s is less than the %s that a proxy needs",
			limit.String(), leastMemory)
	}
	return nil
}

// memoryTarget is Go's GOMEMLIMIT. It leaves a fifth of the container's limit to what Go does not
// count: the binary's pages and the kernel's socket buffers.
func memoryTarget(r corev1.ResourceRequirements) string {
	limit := r.Limits[corev1.ResourceMemory]
	return fmt.Sprintf("%dMiB", limit.Value()*4/5>>20)
}
