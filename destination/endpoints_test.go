package destination

import (
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/registry"
)

const rolledOut = `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-a, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints:
- {addresses: [10.1.0.3], conditions: {ready: true}, ` +
	`targetRef: {kind: Pod, name: web-3, namespace: shop, uid: u3}}
- {addresses: [10.1.0.4], conditions: {ready: true}, ` +
	`targetRef: {kind: Pod, name: web-4, namespace: shop, uid: u4}}`

// Slices and pods come by two watches. A service whose slices name pods that the other watch has
// not told of yet keeps the endpoints it had, as far as those live.
func TestSlicesBeforePodsKeepTheLastAnswer(t *testing.T) {
	reg := registryOf(t, cluster)
	h, w := newHub(reg, testMesh()), newWatcher()
	service := registry.Name{Namespace: "shop", Name: "web"}
	c := h.watch(question{cluster: clusterRef{service: service, port: 80}}, w)
	for _, step := range []struct {
		name, documents, gone, want string
	}{
		{name: "at first", want: "web-1 web-2"},
		{name: "the slices are ahead", documents: rolledOut, want: "web-1 web-2"},
		{name: "an old pod is terminating", want: "web-1", documents: `
{apiVersion: v1, kind: Pod, metadata: {name: web-2, ` +
			`namespace: shop, uid: u2, deletionTimestamp: "2030-01-01T00:00:00Z"}, ` +
			`spec: {containers: [{name: a, image: p}]}, status: {podIP: 10.1.0.2}}`},
		{name: "another is gone", gone: "web-1", want: ""},
		{name: "the first new pod is known", want: "web-3", documents: `
{apiVersion: v1, kind: Pod, metadata: {name: web-3, namespace: shop, uid: u3}, ` +
			`spec: {containers: [{name: a, image: p}]}, status: {podIP: 10.1.0.3}}`},
		{name: "both are", want: "web-3 web-4", documents: `
{apiVersion: v1, kind: Pod, metadata: {name: web-4, namespace: shop, uid: u4}, ` +
			`spec: {containers: [{name: a, image: p}]}, status: {podIP: 10.1.0.4}}`},
		{name: "they are not ready, and an unknown one is", want: "",
			documents: strings.NewReplacer("ready: true", "ready: false").Replace(rolledOut) + `
- {addresses: [10.1.0.5], conditions: {ready: true}, ` +
				`targetRef: {kind: Pod, name: web-5, namespace: shop, uid: u5}}`},
	} {
		apply(reg, objectsOf(t, step.documents)...)
		if step.gone != "" {
			gone := &registry.Workload{Meta: registry.Meta{Namespace: "shop", Name: step.gone}}
			reg.Owner("test").Apply(registry.Change{Delete: []registry.Object{gone}})
		}
		b := newBacklog()
		h.publishLosses(b)
		h.publish(b)
		var pods []string
		for _, ep := range c.answer.Load().endpoints().snapshot.GetEndpoints().GetEndpoints() {
			pods = append(pods, ep.GetWorkload().GetPod())
		}
		if got := strings.Join(pods, " "); got != step.want {
			t.Errorf("%s: endpoints are %q, want %q", step.name, got, step.want)
		}
	}
}
