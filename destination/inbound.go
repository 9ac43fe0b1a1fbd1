package destination

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// A gRPC probe is a request like another; the kubelet names the path nowhere, since the protocol does.
const grpcHealthPath = "/grpc.health.v1.Health/Check"

// inbound answers how a port of the caller's own pod takes connections. Without a pod (its name is empty: none was
// attested) only the namespace speaks.
func (v *view) inbound(port uint32, name types.NamespacedName) (*api.Inbound, error) {
	if port == 0 || port > 65535 {
		return nil, fmt.Errorf("inbound port %d must be 1 to 65535", port)
	}
	pod := v.pod(name)
	if pod == nil {
		pod = &corev1.Pod{}
		pod.Namespace = name.Namespace
	}
	out := &api.Inbound{
		Port: port, Protocol: api.Protocol_PROTOCOL_DETECT, Mode: v.modeOf(pod),
		DefaultAction: api.Action_ACTION_ALLOW, Probes: probes(pod, uint16(port)),
	}
	v.inboundService(out, pod)
	if v.podOpaque(pod, uint16(port)) {
		out.Protocol = api.Protocol_PROTOCOL_OPAQUE
	}
	return out, nil
}

// inboundService takes what the services in front of the port say: of several, the first by name, but a port that one of
// them calls opaque is.
func (v *view) inboundService(out *api.Inbound, pod *corev1.Pod) {
	if pod.Name == "" {
		return
	}
	for _, front := range v.fronts(nameOf(pod), uint16(out.Port)) {
		profile := v.profile(v.mesh.host(nameOf(front.service)), front.service.Namespace, front.service.Namespace)
		protocol := v.protocolOf(front.service, front.port, profile)
		if out.Service != nil {
			if protocol == api.Protocol_PROTOCOL_OPAQUE {
				out.Protocol = protocol
			}
			continue
		}
		out.Protocol = protocol
		out.Service = &api.Metadata{Namespace: front.service.Namespace, Service: front.service.Name}
		out.Http = inboundRules(profile)
	}
}

// front is a service's port that leads to a pod's.
type front struct {
	service *corev1.Service
	port    *corev1.ServicePort
}

func (v *view) fronts(pod types.NamespacedName, number uint16) []front {
	var out []front
	seen := map[types.NamespacedName]bool{}
	for _, slice := range v.slicesOf(pod) {
		svc := v.service(serviceOf(slice))
		if svc == nil || seen[nameOf(svc)] {
			continue
		}
		for i := range svc.Spec.Ports {
			port := &svc.Spec.Ports[i]
			if n, ok := slicePort(slice, port.Name); ok && n == number && isTCP(port.Protocol) && !seen[nameOf(svc)] {
				seen[nameOf(svc)] = true
				out = append(out, front{svc, port})
			}
		}
	}
	slices.SortFunc(out, func(a, b front) int { return cmp.Compare(a.service.Name, b.service.Name) })
	return out
}

func inboundRules(profile *crd.ServiceProfile) []*api.HTTPRule {
	if profile == nil {
		return nil
	}
	out := make([]*api.HTTPRule, 0, len(profile.Spec.Routes))
	for i := range profile.Spec.Routes {
		out = append(out, namedRule(profile, &profile.Spec.Routes[i]))
	}
	return out
}

// probes returns the paths at which the kubelet, which has no certificate, asks on this port.
func probes(pod *corev1.Pod, port uint16) []*api.Probe {
	var paths []string
	for _, containers := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range containers {
			c := &containers[i]
			for _, probe := range []*corev1.Probe{c.LivenessProbe, c.ReadinessProbe, c.StartupProbe} {
				if path, number := probed(pod, probe); path != "" && number == port {
					paths = append(paths, path)
				}
			}
		}
	}
	slices.Sort(paths)
	var out []*api.Probe
	for _, path := range slices.Compact(paths) {
		out = append(out, &api.Probe{Path: path})
	}
	return out
}

func probed(pod *corev1.Pod, probe *corev1.Probe) (path string, port uint16) {
	switch {
	case probe == nil:
		return "", 0
	case probe.GRPC != nil:
		return grpcHealthPath, uint16(probe.GRPC.Port)
	case probe.HTTPGet == nil || probe.HTTPGet.Scheme == corev1.URISchemeHTTPS:
		return "", 0 // TLS of the application's own passes through as it is
	}
	path, _, _ = strings.Cut(cmp.Or(probe.HTTPGet.Path, "/"), "?")
	if probe.HTTPGet.Port.Type == intstr.String {
		return path, containerPort(pod, probe.HTTPGet.Port.StrVal)
	}
	return path, uint16(probe.HTTPGet.Port.IntVal)
}
