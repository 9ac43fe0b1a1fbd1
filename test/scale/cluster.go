package main

import (
	"fmt"
	"net/netip"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/names"
)

const (
	clusterDomain = "cluster.local"
	// perNamespace services have a namespace together.
	perNamespace = 20
	// perSlice is how many endpoints Kubernetes puts into a slice, by default.
	perSlice = 100
	// perNode pods run on a node.
	perNode     = 50
	servicePort = 80
	targetPort  = 8080
)

var trustDomain = spiffeid.RequireTrustDomainFromString(clusterDomain)

// shape is how large a cluster is. Each service is in front of a deployment of its own.
type shape struct {
	Services int
	Pods     int // of each
}

func (s shape) pods() int { return s.Services * s.Pods }

func namespaceOf(service int) string { return fmt.Sprintf("team-%02d", service/perNamespace) }
func serviceName(service int) string { return fmt.Sprintf("service-%04d", service) }

func authorityOf(service int) string {
	return fmt.Sprintf("%s.%s.svc.%s:%d", serviceName(service), namespaceOf(service), clusterDomain,
		servicePort)
}

// pod is one of a deployment's. Its number is its own among all pods there ever were.
type pod struct {
	service, number int
	ready           bool
}

func (p pod) name() string {
	return fmt.Sprintf("%s-5d8f7c9b64-%05x", serviceName(p.service), p.number)
}

func (p pod) uid() string {
	return fmt.Sprintf("6f1c2d3e-0000-4000-8000-%012x", p.number)
}

func (p pod) node() string { return fmt.Sprintf("node-%03d", p.number/perNode%200) }
func (p pod) zone() string { return fmt.Sprintf("zone-%c", 'a'+p.number%3) }

// address counts from 10.1.0.0 on; services are below.
func (p pod) address() netip.Addr {
	n := p.number + 1<<16
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

func (p pod) workload() *registry.Workload {
	service := serviceName(p.service)
	return &registry.Workload{
		Meta: registry.Meta{Namespace: namespaceOf(p.service), Name: p.name(),
			Labels: registry.NewLabels(map[string]string{"app": service,
				names.LabelMesh: names.Mesh, "pod-template-hash": "5d8f7c9b64"})},
		UID: p.uid(), Kind: "deployment", Owner: service, ServiceAccount: service, Node: p.node(),
		Addresses: []netip.Addr{p.address()}, HasProxy: true,
		Ports: []registry.NamedPort{{Name: "http", Number: targetPort}},
	}
}

func (p pod) endpoint() registry.Endpoint {
	return registry.Endpoint{
		Address: p.address(), Node: p.node(), Zone: p.zone(), Ready: p.ready,
		Workload:    registry.Name{Namespace: namespaceOf(p.service), Name: p.name()},
		WorkloadUID: p.uid(),
	}
}

func service(i int) *registry.Service {
	return &registry.Service{
		Meta:      registry.Meta{Namespace: namespaceOf(i), Name: serviceName(i)},
		Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})},
		Ports:     []registry.ServicePort{{Name: "http", Number: servicePort}},
	}
}

// slice is the n-th of a service's, of these pods.
func slice(i, n int, pods []pod) *registry.Slice {
	out := &registry.Slice{
		Meta: registry.Meta{Namespace: namespaceOf(i),
			Name: fmt.Sprintf("%s-%03d", serviceName(i), n)},
		Service: registry.Name{Namespace: namespaceOf(i), Name: serviceName(i)},
		Family:  registry.IPv4, Ports: []registry.NamedPort{{Name: "http", Number: targetPort}},
	}
	for _, p := range pods {
		out.Endpoints = append(out.Endpoints, p.endpoint())
	}
	return out
}
