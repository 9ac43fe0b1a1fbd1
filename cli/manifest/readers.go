package manifest

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// readersOf lets only Prometheus's namespace read who calls whom. A policy for some pods refuses
// whatever it does not name, so the server's other ports are named for everybody: who may use those
// is decided by certificates, and the kubelet has none.
func (c Config) readersOf(s server) *networkingv1.NetworkPolicy {
	from := []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{
		MatchLabels: map[string]string{corev1.LabelMetadataName: c.Prometheus.Namespace},
	}}}
	return &networkingv1.NetworkPolicy{
		TypeMeta:   typeMeta("networking.k8s.io/v1", "NetworkPolicy"),
		ObjectMeta: meta(s.name, c.Injector.Namespace),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: selector(s)},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress: []networkingv1.NetworkPolicyIngressRule{
				{Ports: policyPorts("tls", "health")},
				{Ports: policyPorts("metrics"), From: from},
			},
		},
	}
}

func policyPorts(names ...string) []networkingv1.NetworkPolicyPort {
	out := make([]networkingv1.NetworkPolicyPort, len(names))
	for i, name := range names {
		out[i].Port = ptr(intstr.FromString(name))
	}
	return out
}
