package kube

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// Kind is a kind of object that destination reads. A new kind is a row of Kinds: the informer, the
// files' reader and the server's rights follow from it.
type Kind struct {
	Resource   schema.GroupVersionResource
	Kind       string
	Namespaced bool
	Optional   bool // a cluster may not have it: then nothing waits for it
	New        func() Object
	// Convert keeps of an object what an answer may need, in the registry's terms: a pod is some
	// 10 KiB on the wire, and less than 1 KiB in the registry.
	Convert func(Object) registry.Object
}

// Object is one of Kubernetes' Go types.
type Object interface {
	metav1.Object
	runtime.Object
}

// Kinds lists every kind that destination reads.
func Kinds() []Kind {
	core, discovery := corev1.SchemeGroupVersion, discoveryv1.SchemeGroupVersion
	networking := networkingv1.SchemeGroupVersion
	cidrs := row(networking.WithResource("servicecidrs"), "ServiceCIDR", false, convertServiceCIDR)
	cidrs.Optional = true // since Kubernetes 1.33
	return []Kind{
		row(core.WithResource("namespaces"), "Namespace", false, convertNamespace),
		row(core.WithResource("nodes"), "Node", false, convertNode),
		row(core.WithResource("services"), "Service", true, convertService),
		row(core.WithResource("pods"), "Pod", true, convertPod),
		row(discovery.WithResource("endpointslices"), "EndpointSlice", true, convertSlice),
		cidrs,
		row(crd.ServiceProfileResource(), crd.Kind, true, convertProfile),
		row(crd.BackendTrafficPolicyResource(), crd.BackendTrafficPolicyKind, true,
			convertTraffic),
		row(crd.RateLimitPolicyResource(), crd.RateLimitPolicyKind, true, convertRateLimit),
		row(crd.FaultInjectionResource(), crd.FaultInjectionKind, true, convertFault),
		row(crd.TelemetryPolicyResource(), crd.TelemetryPolicyKind, true, convertTelemetry),
		row(crd.ServiceLevelObjectiveResource(), crd.ServiceLevelObjectiveKind, true,
			convertObjective),
		optional(row(crd.GatewayResource(crd.HTTPRoutes), crd.HTTPRoute, true, convertHTTPRoute)),
		optional(row(crd.GatewayResource(crd.GRPCRoutes), crd.GRPCRoute, true, convertGRPCRoute)),
		optional(row(crd.GatewayResource(crd.TLSRoutes), crd.TLSRoute, true, convertTLSRoute)),
		optional(row(crd.GatewayResource(crd.TCPRoutes), crd.TCPRoute, true, convertTCPRoute)),
		optional(row(crd.GatewayResource(crd.BackendTLSPolicies), crd.BackendTLSPolicy, true,
			convertBackendTLS)),
	}
}

// optional is a kind of the Gateway API's: who wants that installs it.
func optional(k Kind) Kind {
	k.Optional = true
	return k
}

// row makes a Kind of what converts it.
func row[P interface {
	*T
	Object
}, T any, O registry.Object](
	resource schema.GroupVersionResource, kind string, namespaced bool, convert func(P) O,
) Kind {
	return Kind{
		Resource: resource, Kind: kind, Namespaced: namespaced,
		New:     func() Object { return P(new(T)) },
		Convert: func(obj Object) registry.Object { return convert(obj.(P)) },
	}
}

// APIVersion is what documents of the kind say in their apiVersion.
func (k *Kind) APIVersion() string { return k.Resource.GroupVersion().String() }

// FindKind returns the kind of a document, or nil.
func FindKind(apiVersion, kind string) *Kind {
	for _, k := range Kinds() {
		if k.APIVersion() == apiVersion && k.Kind == kind {
			return &k
		}
	}
	return nil
}

// FindPolicyKind returns the kind of a policy, or nil.
func FindPolicyKind(kind string) *Kind {
	for _, k := range Kinds() {
		if k.Kind == kind {
			return &k
		}
	}
	return nil
}

// typed returns an object as the kind's own Go type. A dynamic client's objects are maps.
func (k *Kind) typed(obj any) (Object, error) {
	u, ok := obj.(runtime.Unstructured)
	if !ok {
		o, ok := obj.(Object)
		if !ok {
			return nil, fmt.Errorf("%T is no object of Kubernetes", obj)
		}
		return o, nil
	}
	out := k.New()
	err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.UnstructuredContent(), out)
	return out, err
}
