package destination

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"google.golang.org/protobuf/reflect/protoreflect"

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

// outboundCase is what a caller asks of the shared cluster, in which there may be more, and what it
// is told.
type outboundCase struct {
	name  string
	more  string
	who   caller
	key   *api.Key
	want  string
	tweak func(*Mesh)
}

// Every corner of who is behind a name or an address.
func TestOutbound(t *testing.T) {
	for _, c := range slices.Concat(byAddress, byName, byMembers, byPort) {
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
