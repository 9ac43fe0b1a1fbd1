package destination

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
)

// byAddress is who is behind an address.
var byAddress = []outboundCase{
	{name: "cluster IP", who: stranger, key: address("10.96.0.10:80"), want: "FOUND " + web},
	{name: "cluster IP, mapped into IPv6", who: stranger, key: address("[::ffff:10.96.0.10]:80"),
		want: "FOUND " + web},
	{name: "one's own service", who: webPod, key: address("10.96.0.10:80"), want: "FOUND " + web},
	{name: "no such port", who: stranger, key: address("10.96.0.10:81"), want: "NOT_FOUND"},
	{name: "a UDP port", who: stranger, key: address("10.96.0.10:53"), want: "NOT_FOUND"},
	{name: "unknown, in a network of services", who: stranger, key: address("10.96.7.7:80"),
		want: "NOT_FOUND"},
	{name: "unknown, in their other family", who: stranger, key: address("[fd96::77]:80"),
		want: "NOT_FOUND"},
	{name: "unknown, in a private range beside the cluster's", who: stranger,
		key: address("10.20.30.40:5432"), want: "OUTSIDE"},
	{name: "unknown, in a network that was told", who: stranger, key: address("10.20.30.40:5432"),
		want: "NOT_FOUND", tweak: told("10.20.0.0/16")},
	{name: "what was told counts, and not what the cluster names", who: stranger,
		key: address("10.96.7.7:80"), want: "OUTSIDE", tweak: told("10.20.0.0/16")},
	{name: "unknown, in a node's pod network", who: stranger, key: address("10.1.9.9:80"),
		want: "NOT_FOUND"},
	{name: "a node in the pod network", who: stranger, key: address("10.1.255.1:10250"),
		want: "OUTSIDE"},
	{name: "outside", who: stranger, key: address("192.0.2.1:443"), want: "OUTSIDE"},
	{name: "outside, IPv6", who: stranger, key: address("[2001:db8::1]:443"), want: "OUTSIDE"},
	{name: "outside, denied", who: stranger, key: address("192.0.2.1:443"), want: "NOT_FOUND",
		tweak: deny},
	{name: "a node, where what is unknown is denied", who: stranger,
		key: address("10.1.255.1:10250"), want: "OUTSIDE", tweak: deny},
	{name: "a pod, where what is unknown is denied", who: webPod, key: address("10.1.0.11:5432"),
		want: "FOUND 10.1.0.11:5432[db-1/10.1.0.11:5432]", tweak: deny},
	{name: "a name of the world, denied", who: stranger, key: authority("example.com:443"),
		want: "NOT_FOUND", tweak: deny},

	{name: "a load balancer's address", who: stranger, key: address("192.168.1.240:80"),
		want: "FOUND " + edge, more: balanced},
	{name: "an external IP", who: stranger, key: address("203.0.113.9:80"), want: "FOUND " + edge,
		more: balanced, tweak: deny},
	{name: "a load balancer's address in a network of the cluster's", who: stranger,
		key: address("192.168.1.240:80"), want: "FOUND " + edge, more: balanced,
		tweak: told("192.168.0.0/16")},
	{name: "another port of a load balancer's", who: stranger, key: address("192.168.1.240:443"),
		want: "OUTSIDE", more: balanced},
	{name: "a load balancer that wants to see what it balances", who: stranger,
		key: address("192.168.1.241:80"), want: "OUTSIDE", more: balanced},
	{name: "a node's address as a load balancer's", who: stranger, key: address("10.1.255.1:80"),
		want: "FOUND " + edge, more: balanced},
	{name: "and the node's own ports", who: stranger, key: address("10.1.255.1:10250"),
		want: "OUTSIDE", more: balanced},
	{name: "a pod's address as an external IP stays the pod's", who: stranger,
		key:  address("10.1.0.2:80"),
		want: "FOUND 10.1.0.2:80[web-2/10.1.0.2:80@10.1.0.2:80=shop/sa/default]", more: balanced},

	{name: "an address in a slice made by hand", who: stranger, key: address("10.20.30.40:5432"),
		want: "FOUND OPAQUE 10.20.30.40:5432[10.20.30.40:5432 OPAQUE]", more: byHand, tweak: deny},
	{name: "another port of it", who: stranger, key: address("10.20.30.40:22"), want: "OUTSIDE",
		more: byHand},
	{name: "in a network of the cluster's", who: stranger, key: address("10.96.7.8:5432"),
		want: "FOUND OPAQUE 10.96.7.8:5432[10.96.7.8:5432 OPAQUE]", more: byHand},
	{name: "a pod's address in a slice made by hand stays the pod's", who: stranger,
		key:  address("10.1.0.1:5432"),
		want: "FOUND 10.1.0.1:5432[web-1/10.1.0.1:5432@10.1.0.1:5432=shop/sa/web]", more: byHand},
	{name: "an address of a pod that is not known yet", who: stranger,
		key: address("10.1.0.50:5432"), want: "NOT_FOUND", more: byHand},
	{name: "and is in no network of the cluster's", who: stranger, key: address("10.30.0.50:5432"),
		want: "NOT_FOUND", more: byHand},
}

func deny(m *Mesh) { m.DenyUnknown = true }

// told is a mesh that was told the cluster's networks.
func told(networks ...string) func(*Mesh) {
	return func(m *Mesh) {
		for _, text := range networks {
			m.Networks = append(m.Networks, netip.MustParsePrefix(text))
		}
	}
}

const edge = "edge.shop.svc.cluster.local:80[" + web1 + "]"

const balanced = `
{apiVersion: v1, kind: Service, metadata: {name: edge, namespace: shop}, ` +
	`spec: {clusterIP: 10.96.0.21, externalIPs: [203.0.113.9, 10.1.0.2], ports: [{port: 80}]}, ` +
	`status: {loadBalancer: {ingress: [{ip: 192.168.1.240}, {ip: 10.1.255.1, ipMode: VIP}, ` +
	`{ip: 192.168.1.241, ipMode: Proxy}, {hostname: lb.example.com}]}}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: edge-a, ` +
	`namespace: shop, labels: {kubernetes.io/service-name: edge}}, addressType: IPv4, ` +
	`ports: [{port: 8080}], endpoints: [{addresses: [10.1.0.1], targetRef: {kind: Pod, ` +
	`name: web-1}}]}`

const byHand = `
{apiVersion: v1, kind: Service, metadata: {name: old, namespace: shop}, ` +
	`spec: {clusterIP: None, ports: [{port: 15432, appProtocol: postgresql}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: old-a, ` +
	`namespace: shop, labels: {kubernetes.io/service-name: old}}, addressType: IPv4, ` +
	`ports: [{port: 5432}], endpoints: [{addresses: [10.20.30.40]}, {addresses: [10.96.7.8]}, ` +
	`{addresses: [10.1.0.1]}, {addresses: [10.1.0.50], targetRef: {kind: Pod, name: early}}, ` +
	`{addresses: [10.30.0.50], targetRef: {kind: Pod, name: late}}]}`

// Before Kubernetes 1.33 the networks of services are not to be read: what can be one is taken for
// one, by where the API server's own service is.
func TestNetworksOfServicesWithoutServiceCIDRs(t *testing.T) {
	const server = `
{apiVersion: v1, kind: Service, metadata: {name: kubernetes, namespace: default}, ` +
		`spec: {clusterIP: 10.100.0.1, clusterIPs: [10.100.0.1, "fd00:10:96::1"], ` +
		`ports: [{port: 443}]}}`
	reg := registryOf(t, server)
	for addr, want := range map[string]string{
		"10.111.255.255:80": "NOT_FOUND", "10.96.0.1:80": "NOT_FOUND", "10.112.0.1:80": "OUTSIDE",
		"10.95.255.255:80": "OUTSIDE", "[fd00:10:96::f:ffff]:80": "NOT_FOUND",
		"[fd00:10:96::10:0]:80": "OUTSIDE",
	} {
		if got := ask(reg, testMesh(), address(addr), stranger); got != want {
			t.Errorf("%s is %s, want %s", addr, got, want)
		}
	}
	apply(reg, objectsOf(t, "{apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, "+
		"metadata: {name: kubernetes}, spec: {cidrs: [10.100.0.0/16]}}")...)
	if got := ask(reg, testMesh(), address("10.111.255.255:80"), stranger); got != "OUTSIDE" {
		t.Errorf("beside the network that a ServiceCIDR names it is %s", got)
	}
}

// Whoever is refused is told why, and what to do.
func TestWhatIsNotFoundSaysWhy(t *testing.T) {
	reg := registryOf(t, cluster)
	for _, c := range []struct {
		key   *api.Key
		tweak func(*Mesh)
		want  string
	}{
		{address("10.96.7.7:80"), nil, "--cluster-networks"},
		{address("192.0.2.1:443"), deny, "--outbound-policy"},
		{authority("example.com"), deny, "--outbound-policy"},
		{address("10.96.0.10:81"), nil, "no such TCP port"},
		{authority("nobody.shop"), nil, "no Service has this name"},
		{address("10.96.0.10:80"), nil, ""},
		{address("192.0.2.1:443"), nil, ""},
	} {
		mesh := testMesh()
		if c.tweak != nil {
			c.tweak(mesh)
		}
		mesh.read(reg, func(v *view) {
			route, _, err := v.outbound(c.key, "shop")
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(route.Reason, c.want) || c.want == "" && route.Reason != "" {
				t.Errorf("%v: %q, want %q", c.key, route.Reason, c.want)
			}
		})
	}
}
