package otlp

import (
	"strings"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// kinds are the kinds of workloads that the conventions have a name for, in Kubernetes' spelling
// and in lower case.
var kinds = map[string]bool{"deployment": true, "statefulset": true, "daemonset": true,
	"replicaset": true, "job": true, "cronjob": true}

// resource is the workload that a proxy is of: spans are the application's, not the proxy's.
func resource(w metric.Workload, identity string, a attributes) {
	name := w.Name
	if name == "" { // destination has not said: by its service account
		name = identity[strings.LastIndexByte(identity, '/')+1:]
	}
	a.text("service.name", name)
	a.text("service.namespace", w.Namespace)
	a.text("service.instance.id", w.Pod)
	a.text("k8s.namespace.name", w.Namespace)
	a.text("k8s.pod.name", w.Pod)
	if kind := strings.ToLower(w.Kind); kinds[kind] {
		a.text("k8s."+kind+".name", w.Name)
	}
}
