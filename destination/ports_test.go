package destination

// byPort is what a port speaks, and whether a proxy stands before it.
var byPort = []outboundCase{
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
}

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
