package destination

import "strings"

// byName is who is behind a name, in all its forms, and behind the address of a pod.
var byName = []outboundCase{
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
