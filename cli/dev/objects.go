package dev

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/identity/names"
)

// What the injector would have put on a pod of a cluster, and this on top of it.
const (
	templateHash = "dev"
)

// writeObjects writes the mesh as the YAML kinds that destination knows, one file per service.
func writeObjects(dir string, p *plan) error {
	ns := &corev1.Namespace{TypeMeta: typeMeta("v1", "Namespace"),
		ObjectMeta: metav1.ObjectMeta{Name: p.mesh.Namespace}}
	if err := writeYAML(filepath.Join(dir, "namespace.yaml"), ns); err != nil {
		return err
	}
	clusterIPs := 0
	for s := range p.mesh.Services {
		objects, err := serviceObjects(p, &p.mesh.Services[s], &clusterIPs)
		if err != nil {
			return err
		}
		if err := writeYAML(filepath.Join(dir, "service-"+p.mesh.Services[s].Name+".yaml"),
			objects...); err != nil {
			return err
		}
	}
	return nil
}

// serviceObjects are a service, its variants as services of their own, and the instances behind
// them.
func serviceObjects(p *plan, s *Service, clusterIPs *int) ([]any, error) {
	names := []string{s.Name}
	for _, v := range s.Variants {
		names = append(names, v.Name)
	}
	var out []any
	for _, name := range names {
		*clusterIPs++
		out = append(out, serviceObject(p.mesh.Namespace, name, s.Protocol, *clusterIPs))
		for _, i := range p.behind(name) {
			slice, err := sliceObject(p.mesh.Namespace, name, i)
			if err != nil {
				return nil, err
			}
			out = append(out, slice)
		}
	}
	for _, i := range p.behind(s.Name) {
		pod, err := podObject(p.mesh.Namespace, i)
		if err != nil {
			return nil, err
		}
		if i.Mesh != "" {
			maps.Copy(pod.Annotations, s.Told)
		}
		out = append(out, pod)
	}
	if s.Check != nil && s.Check.Exec == nil {
		out = append(out, s.Check.policy(p.mesh.Namespace, s.Name))
	}
	return out, nil
}

func typeMeta(version, kind string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: version, Kind: kind}
}

// serviceObject has a cluster IP that nobody dials: without one it would be headless, which means
// something.
func serviceObject(namespace, name, appProtocol string, n int) *corev1.Service {
	ip := net.IPv4(10, 96, byte(n>>8), byte(n)).String()
	port := corev1.ServicePort{Name: servicePortName, Port: servicePort,
		Protocol: corev1.ProtocolTCP}
	if appProtocol != "" {
		port.AppProtocol = &appProtocol
	}
	return &corev1.Service{
		TypeMeta:   typeMeta("v1", "Service"),
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.ServiceSpec{
			ClusterIP: ip, ClusterIPs: []string{ip},
			Selector: map[string]string{"app": name},
			Ports:    []corev1.ServicePort{port},
		},
	}
}

// sliceObject is one instance behind a service: slices have one port for all, and every instance
// here has its own.
func sliceObject(namespace, service string, i *Instance) (*discoveryv1.EndpointSlice, error) {
	addr, err := i.target()
	if err != nil {
		return nil, err
	}
	name, port, protocol, ready := servicePortName, int32(addr.Port()), corev1.ProtocolTCP, true
	family := discoveryv1.AddressTypeIPv4
	if addr.Addr().Is6() {
		family = discoveryv1.AddressTypeIPv6
	}
	return &discoveryv1.EndpointSlice{
		TypeMeta: typeMeta("discovery.k8s.io/v1", "EndpointSlice"),
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: service + "-" + i.Name,
			Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: family,
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Port: &port, Protocol: &protocol}},
		Endpoints: []discoveryv1.Endpoint{{
			Addresses:  []string{addr.Addr().String()},
			Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &ready},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: namespace, Name: i.Name},
		}},
	}, nil
}

// target is the address that stands for an instance's pod and its port: its process's, or the
// relay's in front of a process that has no proxy.
func (i *Instance) target() (netip.AddrPort, error) {
	text := i.App
	if i.Mesh == "" {
		text = i.peerAddress()
	}
	addr, err := netip.ParseAddrPort(text)
	if err != nil {
		return addr, fmt.Errorf("endpoint of %s: %w", i.Name, err)
	}
	return addr, nil
}

func podObject(namespace string, i *Instance) (*corev1.Pod, error) {
	addr, err := i.target()
	if err != nil {
		return nil, err
	}
	ip, controller := addr.Addr().String(), true
	pod := &corev1.Pod{
		TypeMeta: typeMeta("v1", "Pod"),
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: i.Name,
			Labels: map[string]string{"app": i.Service, "pod-template-hash": templateHash},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet",
				Name: i.Workload + "-" + templateHash, Controller: &controller}},
		},
		Spec: corev1.PodSpec{ServiceAccountName: i.Workload,
			Containers: []corev1.Container{{Name: "app"}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: ip,
			PodIPs: []corev1.PodIP{{IP: ip}},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady,
				Status: corev1.ConditionTrue}}},
	}
	if i.Mesh != "" {
		pod.Labels[names.LabelMesh] = names.Mesh
		pod.Annotations = map[string]string{names.AnnotationMeshAddress: i.peerAddress()}
		always := corev1.ContainerRestartPolicyAlways
		pod.Spec.InitContainers = []corev1.Container{{Name: names.ProxyContainer,
			RestartPolicy: &always}}
	}
	return pod, nil
}

// writeYAML writes documents into one file, at once: it is watched.
func writeYAML(path string, objects ...any) error {
	var text bytes.Buffer
	for _, o := range objects {
		doc, err := yaml.Marshal(o)
		if err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		text.WriteString("---\n")
		text.Write(doc)
	}
	return replaceFile(path, text.Bytes())
}
