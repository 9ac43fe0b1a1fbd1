package destination

import "strings"

// byMembers is which of a service's pods are its endpoints.
var byMembers = []outboundCase{
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
}

const local = `
{apiVersion: v1, kind: Service, metadata: {name: near, namespace: shop}, ` +
	`spec: {clusterIP: 10.96.0.20, internalTrafficPolicy: Local, ports: [{port: 80}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: near-a, namespace: shop, ` +
	`labels: {kubernetes.io/service-name: near}}, addressType: IPv4, ports: [{port: 8080}], ` +
	`endpoints: [{addresses: [10.1.0.1], nodeName: n1, targetRef: {kind: Pod, name: web-1}}, ` +
	`{addresses: [10.1.0.2], nodeName: n2, targetRef: {kind: Pod, name: web-2}}]}`

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
