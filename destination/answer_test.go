package destination

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/protobuf/reflect/protoreflect"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/files"
	"github.com/tulle-mesh/tulle/destination/registry"
)

func testMesh() *Mesh {
	return &Mesh{
		TrustDomain:   spiffeid.RequireTrustDomainFromString("cluster.local"),
		ClusterDomain: "cluster.local",
	}
}

// objectsOf reads documents as a file's are read.
func objectsOf(t testing.TB, texts ...string) []registry.Object {
	t.Helper()
	var out []registry.Object
	for _, text := range texts {
		objects, err := files.Parse("test.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, objects...)
	}
	return out
}

// apply sets objects one by one, as the one source of a test.
func apply(reg *registry.Registry, objects ...registry.Object) {
	owner := reg.Owner("test")
	for _, obj := range objects {
		owner.Apply(registry.Change{Set: []registry.Object{obj}})
	}
}

func registryOf(t testing.TB, texts ...string) *registry.Registry {
	t.Helper()
	reg := registry.New()
	apply(reg, objectsOf(t, texts...)...)
	return reg
}

// ask answers a key as a stream would, and writes the answer on one line.
func ask(reg *registry.Registry, mesh *Mesh, key *api.Key, c caller) string {
	var out strings.Builder
	mesh.read(reg, func(v *view) {
		a := v.compute(c.question(key))
		if a.invalid != "" {
			out.WriteString("invalid: " + a.invalid)
			return
		}
		route := a.resources[0].snapshot.GetRoute()
		out.WriteString(short(route.Resolution))
		if route.Protocol != api.Protocol_PROTOCOL_DETECT {
			out.WriteString(" " + short(route.Protocol))
		}
		for i, ref := range a.refs {
			out.WriteString(" " + v.describe(ref.on(c)))
			if w := route.Backends[i].Weight; w != 1 {
				fmt.Fprintf(&out, "*%d", w)
			}
		}
	})
	return out.String()
}

// short is an enum's value without its prefix.
func short(e interface {
	fmt.Stringer
	protoreflect.Enum
}) string {
	return strings.TrimPrefix(e.String(), strings.ToUpper(string(e.Descriptor().Name()))+"_")
}

func (v *view) describe(ref clusterRef) string {
	a := v.compute(question{cluster: ref})
	var eps []string
	for _, ep := range a.resources[1].snapshot.GetEndpoints().Endpoints {
		text := ep.Id
		if ep.MeshAddress != "" {
			text += "@" + ep.MeshAddress + "=" +
				strings.TrimPrefix(ep.Identity, "spiffe://cluster.local/ns/")
		}
		if ep.Protocol != api.Protocol_PROTOCOL_DETECT {
			text += " " + short(ep.Protocol)
		}
		eps = append(eps, text)
	}
	return a.resources[0].id.name + "[" + strings.Join(eps, " ") + "]"
}

func address(text string) *api.Key   { return &api.Key{Key: &api.Key_Address{Address: text}} }
func authority(text string) *api.Key { return &api.Key{Key: &api.Key_Authority{Authority: text}} }

// The cluster that the cases share: a meshed web of two pods behind shop/web, a StatefulSet db
// behind a headless service.
const cluster = `
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Node, metadata: {name: n1, labels: {topology.kubernetes.io/zone: a}}, ` +
	`spec: {podCIDRs: [10.1.0.0/16, "fd01::/64"]}, ` +
	`status: {addresses: [{type: InternalIP, address: 10.1.255.1}]}}
---
{apiVersion: networking.k8s.io/v1, kind: ServiceCIDR, metadata: {name: kubernetes}, ` +
	`spec: {cidrs: [10.96.0.0/16, "fd96::/112"]}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  clusterIP: 10.96.0.10
  ports: [{name: http, port: 80, targetPort: http}, {name: dns, port: 53, protocol: UDP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-a, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints:
- {addresses: [10.1.0.1], nodeName: n1, zone: a, conditions: {ready: true}, ` +
	`targetRef: {kind: Pod, name: web-1, namespace: shop, uid: u1}}
- {addresses: [10.1.0.2], nodeName: n2, conditions: {ready: true}, ` +
	`targetRef: {kind: Pod, name: web-2, namespace: shop, uid: u2}}
---
apiVersion: v1
kind: Pod
metadata:
  name: web-1
  namespace: shop
  uid: u1
  labels: {tulle.dev/mesh: tulle, pod-template-hash: 5d4f}
  ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web-5d4f, uid: x, ` +
	`controller: true}]
spec:
  serviceAccountName: web
  nodeName: n1
  initContainers: [{name: tulle-proxy, image: p}]
  containers:
  - name: app
    image: i
    ports: [{name: http, containerPort: 8080}]
    livenessProbe: {httpGet: {path: /healthz, port: http}}
    readinessProbe: {grpc: {port: 8080}}
    lifecycle: {preStop: {httpGet: {path: /end, port: http}}}
status: {phase: Running, podIP: 10.1.0.1, podIPs: [{ip: 10.1.0.1}, {ip: "fd01::1"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-2, namespace: shop, uid: u2, labels: {tulle.dev/mesh: tulle}}
spec: {nodeName: n2, containers: [{name: tulle-proxy, image: p}]}
status: {phase: Running, podIP: 10.1.0.2, podIPs: [{ip: 10.1.0.2}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: None, publishNotReadyAddresses: true, ` +
	`ports: [{name: pg, port: 5432, appProtocol: postgresql}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-a, namespace: shop, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: pg, port: 5432}]
endpoints:
- {addresses: [10.1.0.10], hostname: db-0, conditions: {ready: true, serving: false}, ` +
	`targetRef: {kind: Pod, name: db-0}}
- {addresses: [10.1.0.11], hostname: db-1, conditions: {ready: true}, ` +
	`targetRef: {kind: Pod, name: db-1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: db-0, namespace: shop}, spec: {nodeName: n1, ` +
	`containers: [{name: a, image: i}]}, status: {podIP: 10.1.0.10, podIPs: [{ip: 10.1.0.10}]}}
---
{apiVersion: v1, kind: Pod, ` +
	`metadata: {name: db-1, namespace: shop}, spec: {containers: [{name: a, image: i}]}, ` +
	`status: {podIP: 10.1.0.11, podIPs: [{ip: 10.1.0.11}]}}
`

const (
	web1 = "web-1/10.1.0.1:8080@10.1.0.1:4143=shop/sa/web"
	web2 = "web-2/10.1.0.2:8080@10.1.0.2:4143=shop/sa/default"
	web  = "web.shop.svc.cluster.local:80[" + web1 + " " + web2 + "]"
)

var (
	webPod   = caller{namespace: "shop", pod: "web-1", node: "n1"}
	stranger = caller{namespace: "other"}
)

// outbound is one table for every corner of who is behind a name.
var outbound = []struct {
	name  string
	more  string
	who   caller
	key   *api.Key
	want  string
	tweak func(*Mesh)
}{
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

	{name: "short name", who: webPod, key: authority("web"), want: "FOUND " + web},
	{name: "short name in another namespace", who: stranger, key: authority("web"),
		want: "NOT_FOUND"},
	{name: "name.namespace", who: stranger, key: authority("web.shop:80"), want: "FOUND " + web},
	{name: "name.namespace.svc", who: stranger, key: authority("web.shop.svc"),
		want: "FOUND " + web},
	{name: "full name", who: stranger, key: authority("Web.shop.svc.cluster.local:80"),
		want: "FOUND " + web},
	{name: "full name with the root's dot", who: stranger,
		key: authority("web.shop.svc.cluster.local.:80"), want: "FOUND " + web},
	{name: "authority that is an address", who: stranger, key: authority("10.96.0.10:80"),
		want: "FOUND " + web},
	{name: "name without that port", who: webPod, key: authority("web:81"), want: "NOT_FOUND"},
	{name: "unknown in a namespace we have", who: stranger, key: authority("nobody.shop"),
		want: "NOT_FOUND"},
	{name: "unknown in the zone", who: stranger, key: authority("nobody.nowhere.svc.cluster.local"),
		want: "NOT_FOUND"},
	{name: "a name of the world", who: stranger, key: authority("example.com:443"),
		want: "OUTSIDE"},

	{name: "pod IP", who: webPod, key: address("10.1.0.2:9999"),
		want: "FOUND 10.1.0.2:9999[web-2/10.1.0.2:9999@10.1.0.2:9999=shop/sa/default]"},
	{name: "pod IP, a port of a service", who: webPod, key: address("10.1.0.2:8080"),
		want: "FOUND 10.1.0.2:8080[web-2/10.1.0.2:8080@10.1.0.2:4143=shop/sa/default]"},
	{name: "pod IP, an opaque port that nothing names", who: webPod, key: address("10.1.0.2:9999"),
		want: "FOUND OPAQUE 10.1.0.2:9999" +
			"[web-2/10.1.0.2:9999@10.1.0.2:4143=shop/sa/default OPAQUE]",
		more: "{apiVersion: v1, kind: Namespace, " +
			"metadata: {name: shop, annotations: {tulle.dev/opaque-ports: \"9999\"}}}"},
	{name: "StatefulSet name", who: webPod, key: authority("db-1.db:5432"),
		want: "FOUND OPAQUE db-1.db.shop.svc.cluster.local:5432[db-1/10.1.0.11:5432 OPAQUE]"},
	{name: "full StatefulSet name",
		who: stranger, key: authority("db-0.db.shop.svc.cluster.local:5432"),
		want: "FOUND OPAQUE db-0.db.shop.svc.cluster.local:5432[db-0/10.1.0.10:5432 OPAQUE]"},
	{name: "StatefulSet name of nobody", who: webPod,
		key: authority("db-7.db.shop.svc.cluster.local:5432"), want: "NOT_FOUND"},
	{name: "headless, not ready but published", who: webPod, key: authority("db:5432"),
		want: "FOUND OPAQUE db.shop.svc.cluster.local:5432[" +
			"db-0/10.1.0.10:5432 OPAQUE db-1/10.1.0.11:5432 OPAQUE]"},

	{name: "not ready, terminating, wrong port", who: webPod, key: authority("api"),
		want: "FOUND api.shop.svc.cluster.local:80[10.9.0.1:80]", more: `
{apiVersion: v1, kind: Service, metadata: {name: api, namespace: shop}, ` +
			`spec: {clusterIP: 10.96.0.11, ports: [{port: 80}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: api-a, namespace: shop, labels: {kubernetes.io/service-name: api}}
addressType: IPv4
ports: [{name: "", port: 80}, {name: other, port: 81}]
endpoints:
- {addresses: [10.9.0.1]}
- {addresses: [10.9.0.2], conditions: {ready: false}}
- {addresses: [10.9.0.3], conditions: {ready: true, serving: true, terminating: true}}
- {addresses: [], conditions: {ready: true}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: api-b, ` +
			`namespace: shop, labels: {kubernetes.io/service-name: api}}, addressType: IPv4, ` +
			`ports: [{name: other, port: 81}], endpoints: [{addresses: [10.9.0.4]}]}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: api-c, ` +
			`namespace: shop, labels: {kubernetes.io/service-name: api}}, addressType: FQDN, ` +
			`ports: [{name: "", port: 80}], endpoints: [{addresses: [example.com]}]}`},

	{name: "the last that serve are terminating", who: webPod, key: authority("api"),
		want: "FOUND api.shop.svc.cluster.local:80[10.9.0.1:80 10.9.0.2:80]", more: `
{apiVersion: v1, kind: Service, metadata: {name: api, namespace: shop}, ` +
			`spec: {clusterIP: 10.96.0.11, ports: [{port: 80}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: api-a, namespace: shop, labels: {kubernetes.io/service-name: api}}
addressType: IPv4
ports: [{name: "", port: 80}]
endpoints:
- {addresses: [10.9.0.1], conditions: {ready: false, serving: true, terminating: true}}
- {addresses: [10.9.0.2], conditions: {ready: true, terminating: true}}
- {addresses: [10.9.0.3], conditions: {ready: false, serving: false, terminating: true}}
- {addresses: [10.9.0.4], conditions: {ready: false, terminating: true}}
- {addresses: [10.9.0.5], conditions: {ready: false}}`},
	{name: "all pods are terminating, before the slice says so", who: webPod,
		key:  address("10.96.0.10:80"),
		want: "FOUND web.shop.svc.cluster.local:80[" + web1 + " " + web2 + "]", more: `
{apiVersion: v1, kind: Pod, metadata: {name: web-1, namespace: shop, uid: u1, ` +
			`deletionTimestamp: "2030-01-01T00:00:00Z", labels: {tulle.dev/mesh: tulle}}, ` +
			`spec: {serviceAccountName: web, nodeName: n1, ` +
			`containers: [{name: tulle-proxy, image: p}]}, status: {podIP: 10.1.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web-2, namespace: shop, uid: u2, ` +
			`deletionTimestamp: "2030-01-01T00:00:00Z", labels: {tulle.dev/mesh: tulle}}, ` +
			`spec: {containers: [{name: tulle-proxy, image: p}]}, status: {podIP: 10.1.0.2}}`},

	{name: "no selector, an address that is a pod's", who: webPod, key: authority("legacy"),
		want: "FOUND legacy.shop.svc.cluster.local:80[192.0.2.7:8080 " + web1 + "]", more: `
{apiVersion: v1, kind: Service, metadata: {name: legacy, namespace: shop}, ` +
			`spec: {clusterIP: 10.96.0.12, ports: [{port: 80}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: legacy-a, ` +
			`namespace: shop, labels: {kubernetes.io/service-name: legacy}}, addressType: IPv4, ` +
			`ports: [{port: 8080}], ` +
			`endpoints: [{addresses: [192.0.2.7]}, {addresses: [10.1.0.1]}]}`},
	{name: "no selector, a port that the pod does not name", who: webPod, key: authority("legacy"),
		want: "FOUND legacy.shop.svc.cluster.local:80" +
			"[web-1/10.1.0.1:9999@10.1.0.1:9999=shop/sa/web]", more: `
{apiVersion: v1, kind: Service, metadata: {name: legacy, namespace: shop}, ` +
			`spec: {clusterIP: 10.96.0.12, ports: [{port: 80}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: legacy-a, ` +
			`namespace: shop, labels: {kubernetes.io/service-name: legacy}}, addressType: IPv4, ` +
			`ports: [{port: 9999}], endpoints: [{addresses: [10.1.0.1]}]}`},

	{name: "named targetPort that differs by pod", who: webPod, key: authority("two"),
		want: "FOUND two.shop.svc.cluster.local:80[web-1/10.1.0.1:8080@10.1.0.1:4143=shop/sa/web " +
			"web-2/10.1.0.2:9090@10.1.0.2:4143=shop/sa/default]", more: `
{apiVersion: v1, kind: Service, metadata: {name: two, namespace: shop}, ` +
			`spec: {clusterIP: 10.96.0.13, ports: [{port: 80, targetPort: http}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: two-a, ` +
			`namespace: shop, labels: {kubernetes.io/service-name: two}}, ` +
			`addressType: IPv4, ports: [{port: 8080}], ` +
			`endpoints: [{addresses: [10.1.0.1], targetRef: {kind: Pod, name: web-1}}]}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: two-b, ` +
			`namespace: shop, labels: {kubernetes.io/service-name: two}}, ` +
			`addressType: IPv4, ports: [{port: 9090}], ` +
			`endpoints: [{addresses: [10.1.0.2], targetRef: {kind: Pod, name: web-2}}]}`},

	{name: "hostNetwork is never meshed", who: webPod, key: authority("host"),
		want: "FOUND host.shop.svc.cluster.local:80[agent/10.1.255.1:80]", more: `
{apiVersion: v1, kind: Service, metadata: {name: host, namespace: shop}, ` +
			`spec: {clusterIP: 10.96.0.14, ports: [{port: 80}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: host-a, ` +
			`namespace: shop, labels: {kubernetes.io/service-name: host}}, addressType: IPv4, ` +
			`ports: [{port: 80}], ` +
			`endpoints: [{addresses: [10.1.255.1], targetRef: {kind: Pod, name: agent}}]}
---
{apiVersion: v1, kind: Pod, metadata: {name: agent, ` +
			`namespace: shop, labels: {tulle.dev/mesh: tulle}}, spec: {hostNetwork: true, ` +
			`containers: [{name: tulle-proxy, image: p}]}, status: {podIP: 10.1.255.1}}`},

	{name: "hostNetwork by the node's address", who: webPod, key: address("10.1.255.1:80"),
		want: "OUTSIDE", more: `
{apiVersion: v1, kind: Pod, metadata: {name: agent, namespace: shop}, spec: {hostNetwork: true, ` +
			`containers: [{name: a, image: p}]}, status: {podIP: 10.1.255.1}}`},

	{name: "internalTrafficPolicy Local", who: webPod, key: authority("near"),
		want: "FOUND near.shop.svc.cluster.local:80[" + web1 + "]", more: local},
	{name: "internalTrafficPolicy Local, node unknown",
		who: caller{namespace: "shop"}, key: authority("near"),
		want: "FOUND near.shop.svc.cluster.local:80[" + web1 + " " + web2 + "]", more: local},
	{name: "internalTrafficPolicy Local, nothing here", who: caller{namespace: "shop", node: "n3"},
		key: authority("near"), want: "FOUND near.shop.svc.cluster.local:80[]", more: local},

	{name: "ExternalName to the world", who: webPod, key: authority("ext:443"), want: "OUTSIDE",
		more: `
{apiVersion: v1, kind: Service, metadata: {name: ext, namespace: shop}, ` +
			`spec: {type: ExternalName, externalName: db.example.com}}`},
	{name: "ExternalName to a service", who: webPod, key: authority("ext:80"), want: "FOUND " + web,
		more: `
{apiVersion: v1, kind: Service, metadata: {name: ext, namespace: shop}, ` +
			`spec: {type: ExternalName, externalName: web.shop.svc.cluster.local.}}`},
	{name: "ExternalName to nobody", who: webPod, key: authority("ext:80"), want: "NOT_FOUND",
		more: `
{apiVersion: v1, kind: Service, metadata: {name: ext, namespace: shop}, ` +
			`spec: {type: ExternalName, externalName: nobody.shop.svc.cluster.local}}`},
	{name: "ExternalName in a ring", who: webPod, key: authority("ext:80"), want: "NOT_FOUND",
		more: `
{apiVersion: v1, kind: Service, metadata: {name: ext, namespace: shop}, ` +
			`spec: {type: ExternalName, externalName: ext.shop.svc.cluster.local}}`},

	{name: "an address that another pod has now", who: webPod, key: address("10.96.0.10:80"),
		want: "FOUND web.shop.svc.cluster.local:80[" + web2 + "]", more: `
{apiVersion: v1, kind: Pod, ` +
			`metadata: {name: web-1, namespace: shop, uid: u9, labels: {tulle.dev/mesh: tulle}}, ` +
			`spec: {containers: [{name: tulle-proxy, image: p}]}, status: {podIP: 10.1.0.77}}
---
{apiVersion: v1, kind: Pod, metadata: {name: thief, namespace: shop}, ` +
			`spec: {containers: [{name: a, image: p}]}, status: {podIP: 10.1.0.1}}`},
	{name: "another pod of the same name and address", who: webPod, key: address("10.96.0.10:80"),
		want: "FOUND web.shop.svc.cluster.local:80[" + web2 + "]", more: `
{apiVersion: v1, kind: Pod, metadata: {name: web-1, namespace: shop, uid: u9}, ` +
			`spec: {serviceAccountName: thief, containers: [{name: a, image: p}]}, ` +
			`status: {podIP: 10.1.0.1}}`},
	{name: "the same pod, which has lost the address", who: webPod, key: address("10.96.0.10:80"),
		want: "FOUND web.shop.svc.cluster.local:80[" + web2 + "]", more: `
{apiVersion: v1, kind: Pod, metadata: {name: web-1, namespace: shop, uid: u1}, ` +
			`spec: {containers: [{name: a, image: p}]}, status: {podIP: 10.1.0.77}}`},
	{name: "an address of two pods: one has ended", who: webPod, key: address("10.1.0.1:80"),
		want: "FOUND 10.1.0.1:80[web-1/10.1.0.1:80@10.1.0.1:80=shop/sa/web]", more: `
{apiVersion: v1, kind: Pod, metadata: {name: a-job, namespace: shop, ` +
			`creationTimestamp: "2030-01-01T00:00:00Z"}, spec: {containers: [{name: a, ` +
			`image: p}]}, status: {phase: Succeeded, podIP: 10.1.0.1}}`},
	{name: "an address of two pods: the newer has it", who: webPod, key: address("10.1.0.1:80"),
		want: "FOUND 10.1.0.1:80[a-new/10.1.0.1:80]", more: `
{apiVersion: v1, kind: Pod, metadata: {name: a-new, ` +
			`namespace: shop, creationTimestamp: "2030-01-01T00:00:00Z"}, ` +
			`spec: {containers: [{name: a, image: p}]}, status: {podIP: 10.1.0.1}}`},
	{name: "a terminating pod leaves before its slice says so", who: webPod,
		key: address("10.96.0.10:80"), want: "FOUND web.shop.svc.cluster.local:80[" + web1 + "]",
		more: `
{apiVersion: v1, kind: Pod, metadata: {name: web-2, namespace: shop, uid: u2, ` +
			`deletionTimestamp: "2030-01-01T00:00:00Z", labels: {tulle.dev/mesh: tulle}}, ` +
			`spec: {containers: [{name: tulle-proxy, image: p}]}, status: {podIP: 10.1.0.2}}`},
	{name: "a terminating pod that was chosen stays", who: webPod, key: address("10.1.0.2:80"),
		want: "FOUND 10.1.0.2:80[web-2/10.1.0.2:80@10.1.0.2:80=shop/sa/default]", more: `
{apiVersion: v1, kind: Pod, metadata: {name: web-2, namespace: shop, uid: u2, ` +
			`deletionTimestamp: "2030-01-01T00:00:00Z", labels: {tulle.dev/mesh: tulle}}, ` +
			`spec: {containers: [{name: tulle-proxy, image: p}]}, status: {podIP: 10.1.0.2}}`},
	{name: "a pod that the informer has not seen", who: webPod, key: authority("early"),
		want: "FOUND early.shop.svc.cluster.local:80[]", more: `
{apiVersion: v1, kind: Service, metadata: {name: early, namespace: shop}, ` +
			`spec: {clusterIP: 10.96.0.15, ports: [{port: 80}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: early-a, ` +
			`namespace: shop, labels: {kubernetes.io/service-name: early}}, addressType: IPv4, ` +
			`ports: [{port: 80}], ` +
			`endpoints: [{addresses: [10.1.0.50], targetRef: {kind: Pod, name: early-1}}]}`},
	{name: "a slice that claims a pod of another namespace", who: webPod,
		key: authority("web.evil"), want: "FOUND web.evil.svc.cluster.local:80[]", more: `
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: evil}, ` +
			`spec: {clusterIP: 10.96.0.16, ports: [{port: 80}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, ` +
			`metadata: {name: w, namespace: evil, labels: {kubernetes.io/service-name: web}}, ` +
			`addressType: IPv4, ports: [{port: 80}], endpoints: [{addresses: [10.1.0.1], ` +
			`targetRef: {kind: Pod, name: web-1, namespace: shop}}]}`},

	{name: "dual stack: each pod once", who: webPod, key: address("10.96.0.10:80"),
		want: "FOUND " + web, more: dual("IPv4")},
	{name: "dual stack, IPv6 first", who: webPod, key: address("[fd96::10]:80"),
		want: "FOUND web.shop.svc.cluster.local:80[" +
			"web-1/[fd01::1]:8080@[fd01::1]:4143=shop/sa/web " + web2 + "]", more: dual("IPv6")},

	{name: "a skipped port is not meshed", who: webPod, key: address("10.1.0.60:6000"),
		want: "FOUND 10.1.0.60:6000[s/10.1.0.60:6000]", more: skipping},
	{name: "a port skipped by its name is not meshed", who: webPod, key: address("10.1.0.65:9100"),
		want: "FOUND 10.1.0.65:9100[skip/10.1.0.65:9100]", more: skippingByName},
	{name: "its other ports are meshed", who: webPod, key: address("10.1.0.65:8080"),
		want: "FOUND 10.1.0.65:8080[skip/10.1.0.65:8080@10.1.0.65:4143=shop/sa/default]",
		more: skippingByName},
	{name: "opaque by the name of the service's port", who: webPod,
		key: authority("op:80"), want: "FOUND OPAQUE op.shop.svc.cluster.local:80[]",
		more: opaque("annotations: {tulle.dev/opaque-ports: \"none,wire\"}", "name: wire")},
	{name: "opaque by a name of the namespace", who: webPod,
		key: authority("op:80"), want: "FOUND OPAQUE op.shop.svc.cluster.local:80[]",
		more: opaque("", "name: wire") + `
---
{apiVersion: v1, kind: Namespace, ` +
			`metadata: {name: shop, annotations: {tulle.dev/opaque-ports: wire}}}`},
	{name: "a name that no port has", who: webPod,
		key: authority("op:80"), want: "FOUND op.shop.svc.cluster.local:80[]",
		more: opaque("annotations: {tulle.dev/opaque-ports: wire}", "name: other")},
	{name: "the proxy's admin port is not meshed", who: webPod, key: address("10.1.0.60:4191"),
		want: "FOUND 10.1.0.60:4191[s/10.1.0.60:4191]", more: skipping},
	{name: "its other ports are", who: webPod, key: address("10.1.0.60:7001"),
		want: "FOUND 10.1.0.60:7001[s/10.1.0.60:7001@10.1.0.60:7001=shop/sa/default]",
		more: skipping},
	{name: "a mesh address is not believed on Kubernetes",
		who: webPod, key: address("10.1.0.61:80"), want: "FOUND 10.1.0.61:80[m/10.1.0.61:80]",
		more: meshAddress},
	{name: "nor of a meshed pod", who: webPod, key: address("10.1.0.63:80"),
		want: "FOUND 10.1.0.63:80[meshed/10.1.0.63:80@10.1.0.63:80=shop/sa/default]", more: `
{apiVersion: v1, kind: Pod, ` +
			`metadata: {name: meshed, namespace: shop, labels: {tulle.dev/mesh: tulle}, ` +
			`annotations: {tulle.dev/mesh-address: "192.0.2.1:9443"}}, ` +
			`spec: {containers: [{name: tulle-proxy, image: p}]}, status: {podIP: 10.1.0.63}}`},
	{name: "a mesh address on one machine", who: webPod, key: address("10.1.0.61:80"),
		want: "FOUND 10.1.0.61:80[m/10.1.0.61:80@127.0.0.1:9443=shop/sa/default]",
		more: meshAddress, tweak: func(m *Mesh) { m.LocalMesh = true }},

	{name: "opaque by the service", who: webPod,
		key: authority("op:80"), want: "FOUND OPAQUE op.shop.svc.cluster.local:80[]",
		more: opaque("annotations: {tulle.dev/opaque-ports: \"25,80\"}", "")},
	{name: "opaque by the namespace", who: webPod, key: authority("op:80"),
		want: "FOUND OPAQUE op.shop.svc.cluster.local:80[]", more: opaque("", "") + `
---
{apiVersion: v1, kind: Namespace, ` +
			`metadata: {name: shop, annotations: {tulle.dev/opaque-ports: 70-90}}}`},
	{name: "the service beats the namespace",
		who: webPod, key: authority("op:80"), want: "FOUND op.shop.svc.cluster.local:80[]",
		more: opaque("annotations: {tulle.dev/opaque-ports: \"\"}", "") + `
---
{apiVersion: v1, kind: Namespace, ` +
			`metadata: {name: shop, annotations: {tulle.dev/opaque-ports: 70-90}}}`},
	{name: "appProtocol", who: webPod,
		key: authority("op:80"), want: "FOUND HTTP2 op.shop.svc.cluster.local:80[]",
		more: opaque("", "appProtocol: kubernetes.io/h2c")},
	{name: "appProtocol of somebody's own",
		who: webPod, key: authority("op:80"), want: "FOUND op.shop.svc.cluster.local:80[]",
		more: opaque("", "appProtocol: example.com/x")},
	{name: "opaque by the profile", who: webPod,
		key: authority("op:80"), want: "FOUND OPAQUE op.shop.svc.cluster.local:80[]",
		more: opaque("", "appProtocol: http") + `
---
{apiVersion: tulle.dev/v1alpha1, ` +
			`kind: ServiceProfile, metadata: {name: op.shop.svc.cluster.local, namespace: shop}, ` +
			`spec: {opaquePorts: [70-90]}}`},
	{name: "opaque by the pod that was chosen", who: webPod, key: address("10.1.0.62:6379"),
		want: "FOUND OPAQUE 10.1.0.62:6379[r/10.1.0.62:6379 OPAQUE]", more: `
{apiVersion: v1, kind: Pod, ` +
			`metadata: {name: r, namespace: shop, annotations: {tulle.dev/opaque-ports: redis}}, ` +
			`spec: {containers: [{name: a, image: p, ` +
			`ports: [{name: redis, containerPort: 6379}]}]}, status: {podIP: 10.1.0.62}}`},

	{name: "canary", who: stranger, key: authority("web.shop"),
		want: "FOUND web.shop.svc.cluster.local:80[" + web1 + " " + web2 + "]*900 " +
			"canary.shop.svc.cluster.local:80[]*100 nobody.shop.svc.cluster.local:81[]*50", more: `
{apiVersion: v1, kind: Service, metadata: {name: canary, namespace: shop}, ` +
			`spec: {clusterIP: 10.96.0.17, ports: [{port: 80}]}}
---
apiVersion: tulle.dev/v1alpha1
kind: ServiceProfile
metadata: {name: web.shop.svc.cluster.local, namespace: shop}
spec:
  dstOverrides:
  - {authority: web.shop.svc.cluster.local, weight: 900m}
  - {authority: canary, weight: 100m}
  - {authority: unused.shop, weight: 0}
  - {authority: "nobody.shop.svc.cluster.local:81", weight: 50m}`},

	{name: "no address", who: webPod, key: address("web:80"),
		want: `invalid: address "web:80" must be IP:port`},
	{name: "no port", who: webPod, key: address("10.0.0.1"),
		want: `invalid: address "10.0.0.1" must be IP:port`},
	{name: "port 0", who: webPod, key: address("10.0.0.1:0"),
		want: `invalid: address "10.0.0.1:0" must be IP:port`},
	{name: "zone", who: webPod, key: address("[fe80::1%eth0]:80"),
		want: `invalid: address "[fe80::1%eth0]:80" must be IP:port`},
	{name: "port out of range", who: webPod, key: authority("web:70000"),
		want: `invalid: authority "web:70000": port "70000" must be a number, 1 to 65535`},
	{name: "too long", who: webPod, key: authority(strings.Repeat("a", 300)),
		want: "invalid: an authority of 300 bytes is too long"},
	{name: "userinfo", who: webPod, key: authority("me@web"), want: `invalid: authority "me@web"`},
}

func TestOutbound(t *testing.T) {
	for _, c := range outbound {
		t.Run(c.name, func(t *testing.T) {
			mesh := testMesh()
			if c.tweak != nil {
				c.tweak(mesh)
			}
			got := ask(registryOf(t, cluster, c.more), mesh, c.key, c.who)
			if got != c.want &&
				!(strings.HasPrefix(c.want, "invalid: ") && strings.HasPrefix(got, c.want)) {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
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

const local = `
{apiVersion: v1, kind: Service, metadata: {name: near, namespace: shop}, ` +
	`spec: {clusterIP: 10.96.0.20, internalTrafficPolicy: Local, ports: [{port: 80}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: near-a, namespace: shop, ` +
	`labels: {kubernetes.io/service-name: near}}, addressType: IPv4, ports: [{port: 8080}], ` +
	`endpoints: [{addresses: [10.1.0.1], nodeName: n1, targetRef: {kind: Pod, name: web-1}}, ` +
	`{addresses: [10.1.0.2], nodeName: n2, targetRef: {kind: Pod, name: web-2}}]}`

const skipping = `
{apiVersion: v1, ` +
	`kind: Pod, metadata: {name: s, namespace: shop, labels: {tulle.dev/mesh: tulle}, ` +
	`annotations: {tulle.dev/skip-inbound-ports: "5000,6000-6999"}}, ` +
	`spec: {containers: [{name: tulle-proxy, image: p}]}, status: {podIP: 10.1.0.60}}`

const skippingByName = `
{apiVersion: v1, ` +
	`kind: Pod, metadata: {name: skip, namespace: shop, labels: {tulle.dev/mesh: tulle}, ` +
	`annotations: {tulle.dev/skip-inbound-ports: "metrics,nobodys"}}, ` +
	`spec: {containers: [{name: tulle-proxy, image: p}, {name: a, image: i, ` +
	`ports: [{name: metrics, containerPort: 9100}, {containerPort: 8080}]}]}, ` +
	`status: {podIP: 10.1.0.65}}`

const meshAddress = `
{apiVersion: v1, kind: Pod, metadata: {name: m, ` +
	`namespace: shop, annotations: {tulle.dev/mesh-address: "127.0.0.1:9443"}}, ` +
	`spec: {containers: [{name: a, image: p}]}, status: {podIP: 10.1.0.61}}`

func dual(first string) string {
	return strings.ReplaceAll(`
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, `+
		`spec: {clusterIP: 10.96.0.10, clusterIPs: [10.96.0.10, "fd96::10"], `+
		`ipFamilies: [FIRST], ports: [{name: http, port: 80, targetPort: http}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: web-6, `+
		`namespace: shop, labels: {kubernetes.io/service-name: web}}, addressType: IPv6, `+
		`ports: [{name: http, port: 8080}], endpoints: [{addresses: ["fd01::1"], `+
		`targetRef: {kind: Pod, name: web-1, uid: u1}}]}`, "FIRST", first)
}

func opaque(meta, port string) string {
	if meta != "" {
		meta = ", " + meta
	}
	if port != "" {
		port = ", " + port
	}
	return "{apiVersion: v1, kind: Service, metadata: {name: op, namespace: shop" + meta +
		"}, spec: {clusterIP: 10.96.0.18, ports: [{port: 80" + port + "}]}}"
}

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

func TestInbound(t *testing.T) {
	const profile = `
{apiVersion: tulle.dev/v1alpha1, ` +
		`kind: ServiceProfile, metadata: {name: web.shop.svc.cluster.local, namespace: shop}, ` +
		`spec: {routes: [{name: r, isRetryable: true, timeout: 1s, condition: {method: GET}}]}}`
	cases := []struct {
		name, more, pod string
		port            uint32
		want            string
	}{
		{"plain", "", "web-1", 8080,
			"PERMISSIVE DETECT web [/end /grpc.health.v1.Health/Check /healthz] [] CHOSEN"},
		{"routes for metrics only", profile, "web-1", 8080,
			"PERMISSIVE DETECT web [/end /grpc.health.v1.Health/Check /healthz] [r] CHOSEN"},
		{"a port that nothing names", "", "web-1", 9999, "PERMISSIVE DETECT  [] [] DIALED"},
		{"a port that a service names, and the pod does not", "", "web-2", 8080,
			"PERMISSIVE DETECT web [] [] CHOSEN"},
		{"a port that the pod names, without a name for it", "{apiVersion: v1, kind: Pod, " +
			"metadata: {name: web-2, namespace: shop}, spec: {containers: [{name: a, " +
			"image: i, ports: [{containerPort: 9090}]}]}}", "web-2", 9090,
			"PERMISSIVE DETECT  [] [] CHOSEN"},
		{"a port of a service that selects the pod, by number", `
{apiVersion: v1, kind: Service, metadata: {name: s, namespace: shop}, ` +
			`spec: {selector: {app: two}, ports: [{port: 80, targetPort: 9090}]}}` + two,
			"two", 9090, "PERMISSIVE DETECT  [] [] CHOSEN"},
		{"a port of a service that selects the pod, without a target", `
{apiVersion: v1, kind: Service, metadata: {name: s, namespace: shop}, ` +
			`spec: {selector: {app: two, tier: front}, ports: [{port: 9090}]}}` + two,
			"two", 9090, "PERMISSIVE DETECT  [] [] CHOSEN"},
		{"another port of it", `
{apiVersion: v1, kind: Service, metadata: {name: s, namespace: shop}, ` +
			`spec: {selector: {app: two}, ports: [{port: 9090, targetPort: 80}]}}` + two,
			"two", 9090, "PERMISSIVE DETECT  [] [] DIALED"},
		{"a service that selects other pods", `
{apiVersion: v1, kind: Service, metadata: {name: s, namespace: shop}, ` +
			`spec: {selector: {app: two, tier: back}, ports: [{port: 9090}]}}` + two,
			"two", 9090, "PERMISSIVE DETECT  [] [] DIALED"},
		{"a service that selects nothing", `
{apiVersion: v1, kind: Service, metadata: {name: s, namespace: shop}, ` +
			`spec: {ports: [{port: 9090}]}}` + two,
			"two", 9090, "PERMISSIVE DETECT  [] [] DIALED"},
		{"a service of another namespace", `
{apiVersion: v1, kind: Service, metadata: {name: s, namespace: evil}, ` +
			`spec: {selector: {app: two}, ports: [{port: 9090}]}}` + two,
			"two", 9090, "PERMISSIVE DETECT  [] [] DIALED"},
		{"a UDP port that the pod names", "{apiVersion: v1, kind: Pod, " +
			"metadata: {name: web-2, namespace: shop}, spec: {containers: [{name: a, " +
			"image: i, ports: [{containerPort: 9090, protocol: UDP}]}]}}", "web-2", 9090,
			"PERMISSIVE DETECT  [] [] DIALED"},
		{"a port that a slice of another namespace claims", `
{apiVersion: v1, kind: Service, metadata: {name: w, namespace: evil}, ` +
			`spec: {clusterIP: 10.96.0.16, ports: [{port: 80}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, ` +
			`metadata: {name: w, namespace: evil, labels: {kubernetes.io/service-name: w}}, ` +
			`addressType: IPv4, ports: [{port: 9999}], endpoints: [{addresses: [10.1.0.1], ` +
			`targetRef: {kind: Pod, name: web-1, namespace: shop}}]}`, "web-1", 9999,
			"PERMISSIVE DETECT  [] [] DIALED"},
		{"what the service's appProtocol says", "", "db-0", 5432,
			"PERMISSIVE OPAQUE db [] [] CHOSEN"},
		{"strict by the namespace", "{apiVersion: v1, kind: Namespace, metadata: {name: shop, " +
			"annotations: {tulle.dev/mode: strict}}}", "web-2", 80,
			"STRICT DETECT  [] [] DIALED"},
		{"strict by the namespace, no pod attested", "{apiVersion: v1, kind: Namespace, " +
			"metadata: {name: shop, annotations: {tulle.dev/mode: strict}}}", "", 80,
			"STRICT DETECT  [] [] DIALED"},
		{"a mode that does not exist", "{apiVersion: v1, kind: Namespace, metadata: {name: shop, " +
			"annotations: {tulle.dev/mode: stric}}}", "web-2", 80,
			"STRICT DETECT  [] [] DIALED"},
		{"opaque by the pod",
			"{apiVersion: v1, kind: Pod, metadata: {name: web-2, namespace: shop, annotations: " +
				"{tulle.dev/opaque-ports: \"8080\"}}, spec: {containers: [{name: a, image: i}]}}",
			"web-2", 8080, "PERMISSIVE OPAQUE web [] [] CHOSEN"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			testMesh().read(registryOf(t, cluster, c.more), func(v *view) {
				in, err := v.inbound(c.port, types.NamespacedName{Namespace: "shop", Name: c.pod})
				if err != nil {
					t.Fatal(err)
				}
				var paths, routes []string
				for _, p := range in.Probes {
					paths = append(paths, p.Path)
				}
				for _, r := range in.Http {
					routes = append(routes, r.Origin.Rule)
					if r.Retry != nil || r.Timeouts != nil {
						t.Error("an inbound rule retries or times out")
					}
				}
				if got := fmt.Sprintf("%s %s %s %s %s %s", short(in.Mode), short(in.Protocol),
					in.Service.GetService(), paths, routes, short(in.Reach)); got != c.want {
					t.Errorf("got %q, want %q", got, c.want)
				}
			})
		})
	}
}

const two = `
---
{apiVersion: v1, kind: Pod, metadata: {name: two, namespace: shop, ` +
	`labels: {app: two, tier: front}}, spec: {containers: [{name: a, image: i}]}}`

func TestWorkload(t *testing.T) {
	registryOf(t, cluster).Read(func(v *registry.View) {
		for pod, want := range map[string]string{"web-1": "deployment/web", "db-0": "pod/db-0"} {
			w := workloadOf(v.Workload(registry.Name{Namespace: "shop", Name: pod}))
			if got := w.Kind + "/" + w.Name; got != want || w.Pod != pod {
				t.Errorf("%s is of %s, want %s", pod, got, want)
			}
		}
	})
}
