package destination

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/destination/api"
)

const labelTemplateHash = "pod-template-hash" // put on a ReplicaSet's pods by its Deployment

// workloadOf names what a pod is part of. A Deployment's ReplicaSets are called after it and their template's hash; with
// the hash in a label, no ReplicaSet needs to be watched.
func workloadOf(pod *corev1.Pod) *api.Workload {
	w := &api.Workload{Namespace: pod.Namespace, Kind: "pod", Name: pod.Name, Pod: pod.Name}
	for _, owner := range pod.OwnerReferences {
		if owner.Controller == nil || !*owner.Controller || owner.Kind == "Node" {
			continue // a static pod belongs to its node, which is no workload
		}
		w.Kind, w.Name = strings.ToLower(owner.Kind), owner.Name
		deployment, ok := strings.CutSuffix(owner.Name, "-"+pod.Labels[labelTemplateHash])
		if owner.Kind == "ReplicaSet" && ok && pod.Labels[labelTemplateHash] != "" {
			w.Kind, w.Name = "deployment", deployment
		}
	}
	return w
}
