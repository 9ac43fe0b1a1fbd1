package destination

import (
	"testing"

	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
)

const promised = `
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.0.0.9, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop, annotations: {tulle.dev/opaque-ports: "5432"}}
spec: {clusterIP: 10.0.0.8, selector: {app: db}, ports: [{port: 5432}]}
---
`

func promising(spec string) string {
	return `
apiVersion: tulle.dev/v1alpha1
kind: ServiceLevelObjective
metadata: {name: a, namespace: shop}
spec: {objective: "99.9", targetRef: {kind: Service, name: ` + spec + "\n"
}

// What has become of an objective is in its status. No proxy is told of it, and none is counted.
func TestTheStatusOfObjectives(t *testing.T) {
	const counted = "viz counts what callers' proxies report"
	for _, c := range []struct {
		spec, want string
		ok         bool
	}{
		{"web}}", counted, true},
		{"web}, latency: 250ms}", counted +
			"; of latency it goes by 245.76ms, the nearest bound that they tell apart", true},
		{"web}, latency: 1.024ms}", counted, true}, // a bound
		{"db}}", "the objective applies to nothing: of port 5432 of Service shop/db: its port is " +
			"declared to be opaque", false},
		{"nobody}}", "the objective applies to nothing: there is no Service shop/nobody", false},
	} {
		reg := registryOf(t, promised+promising(c.spec))
		testMesh().read(reg, func(v *view) {
			ref := registry.PolicyRef{Kind: crd.ServiceLevelObjectiveKind,
				Name: registry.Name{Namespace: "shop", Name: "a"}}
			parents := v.report(ref).Want.Parents
			if len(parents) != 1 || len(parents[0].Conditions) != 1 {
				t.Fatalf("%s: %+v", c.spec, parents)
			}
			said := parents[0].Conditions[0]
			if said.Message != c.want || (said.Status == "True") != c.ok {
				t.Errorf("%s: %s, %q", c.spec, said.Status, said.Message)
			}
		})
	}
}
