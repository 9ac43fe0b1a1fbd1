package kube

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// Dynamic makes a client for kinds that have no typed one: ours.
func Dynamic(cfg *rest.Config) (dynamic.Interface, error) {
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("make a dynamic Kubernetes client: %w", err)
	}
	return client, nil
}

// Informers watch the whole cluster and keep trimmed objects: a pod is some 10 KiB on the wire, and 1 KiB here. There is no
// resync: it would only repeat what is known.
func Informers(client kubernetes.Interface) informers.SharedInformerFactory {
	return informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(Trim))
}

// Trim keeps of an object what destination uses. Objects of other kinds lose their managed fields.
func Trim(obj any) (any, error) {
	switch o := obj.(type) {
	case *corev1.Pod:
		return trimPod(o), nil
	case *corev1.Service:
		return trimService(o), nil
	case *corev1.Node:
		return trimNode(o), nil
	case *corev1.Namespace:
		return &corev1.Namespace{ObjectMeta: trimMeta(o)}, nil
	case *discoveryv1.EndpointSlice:
		return trimSlice(o), nil
	case metav1.Object:
		o.SetManagedFields(nil)
	}
	return obj, nil
}

// labels that are read beside those under tulle.dev/.
var keptLabels = [...]string{"pod-template-hash", corev1.LabelTopologyRegion, corev1.LabelTopologyZone, discoveryv1.LabelServiceName}

func trimMeta(o metav1.Object) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: o.GetName(), Namespace: o.GetNamespace(), UID: o.GetUID(), ResourceVersion: o.GetResourceVersion(),
		CreationTimestamp: o.GetCreationTimestamp(), DeletionTimestamp: o.GetDeletionTimestamp(),
		Labels: ours(o.GetLabels()), Annotations: ours(o.GetAnnotations()),
	}
}

func ours(all map[string]string) map[string]string {
	var out map[string]string
	keep := func(key, value string) {
		if out == nil {
			out = map[string]string{}
		}
		out[key] = value
	}
	for key, value := range all {
		if strings.HasPrefix(key, "tulle.dev/") {
			keep(key, value)
		}
	}
	for _, key := range keptLabels {
		if value, ok := all[key]; ok {
			keep(key, value)
		}
	}
	return out
}

func trimPod(p *corev1.Pod) *corev1.Pod {
	out := &corev1.Pod{ObjectMeta: trimMeta(p)}
	for _, owner := range p.OwnerReferences {
		if owner.Controller != nil && *owner.Controller {
			out.OwnerReferences = append(out.OwnerReferences, owner)
		}
	}
	out.Spec.ServiceAccountName, out.Spec.NodeName, out.Spec.HostNetwork = p.Spec.ServiceAccountName, p.Spec.NodeName, p.Spec.HostNetwork
	out.Spec.Containers, out.Spec.InitContainers = trimContainers(p.Spec.Containers), trimContainers(p.Spec.InitContainers)
	out.Status.Phase, out.Status.PodIP, out.Status.PodIPs = p.Status.Phase, p.Status.PodIP, p.Status.PodIPs
	return out
}

func trimContainers(in []corev1.Container) []corev1.Container {
	out := make([]corev1.Container, len(in))
	for i := range in {
		out[i] = corev1.Container{
			Name: in[i].Name, Ports: in[i].Ports,
			LivenessProbe: trimProbe(in[i].LivenessProbe), ReadinessProbe: trimProbe(in[i].ReadinessProbe), StartupProbe: trimProbe(in[i].StartupProbe),
		}
	}
	return out
}

func trimProbe(p *corev1.Probe) *corev1.Probe {
	if p == nil || (p.HTTPGet == nil && p.GRPC == nil) {
		return nil
	}
	out := &corev1.Probe{}
	if p.GRPC != nil {
		out.GRPC = &corev1.GRPCAction{Port: p.GRPC.Port}
	}
	if p.HTTPGet != nil {
		out.HTTPGet = &corev1.HTTPGetAction{Path: p.HTTPGet.Path, Port: p.HTTPGet.Port, Scheme: p.HTTPGet.Scheme}
	}
	return out
}

func trimService(s *corev1.Service) *corev1.Service {
	return &corev1.Service{ObjectMeta: trimMeta(s), Spec: corev1.ServiceSpec{
		Type: s.Spec.Type, ClusterIP: s.Spec.ClusterIP, ClusterIPs: s.Spec.ClusterIPs, IPFamilies: s.Spec.IPFamilies,
		Ports: s.Spec.Ports, ExternalName: s.Spec.ExternalName, InternalTrafficPolicy: s.Spec.InternalTrafficPolicy,
	}}
}

func trimNode(n *corev1.Node) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: trimMeta(n),
		Spec:       corev1.NodeSpec{PodCIDRs: n.Spec.PodCIDRs},
		Status:     corev1.NodeStatus{Addresses: n.Status.Addresses},
	}
}

func trimSlice(s *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	out := &discoveryv1.EndpointSlice{ObjectMeta: trimMeta(s), AddressType: s.AddressType, Ports: s.Ports, Endpoints: s.Endpoints}
	for i := range out.Endpoints {
		out.Endpoints[i].DeprecatedTopology, out.Endpoints[i].Hints = nil, nil
	}
	return out
}
