//go:build e2e && real

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// zoneServer is the part of a Service in a zone. One pod has room for 50 requests a second.
const zoneServer = `apiVersion: apps/v1
kind: Deployment
metadata: {name: ZONE}
spec:
  replicas: 3
  selector: {matchLabels: {app: server, in: ZONE}}
  template:
    metadata: {labels: {app: server, in: ZONE}}
    spec:
      nodeSelector: {topology.kubernetes.io/zone: ZONE}
      terminationGracePeriodSeconds: 5
      containers:
      - name: app
        image: test/app:e2e
        args: [serve, -takes, 100ms, -workers, "5"]
        ports: [{name: http, containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
---
`

const zoneClient = `apiVersion: v1
kind: Service
metadata: {name: server}
spec:
  selector: {app: server}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: client}
spec:
  selector: {matchLabels: {app: client}}
  template:
    metadata: {labels: {app: client}}
    spec:
      nodeSelector: {topology.kubernetes.io/zone: zone1}
      containers:
      - {name: app, image: "test/app:e2e", args: [serve]}
`

// zoneRate is what the client asks for, a second: two thirds of what three pods have room for.
const zoneRate = 100

// With a preference no request leaves the client's zone while its pods have room. What one pod of
// three has no room for goes to the other zone, and no more; all goes there once none is left; and
// nothing again when all are back. Of two nodes each is a zone.
func TestZones(t *testing.T) {
	nodes := run(t, "kubectl", "get", "nodes", "-o",
		`jsonpath={.items[*].metadata.labels.topology\.kubernetes\.io/zone}`)
	if nodes != "zone1 zone2" {
		t.Skipf("the cluster has zones %q: start it with CLUSTER_NODES=2", nodes)
	}
	install(t)
	ns := ownNamespace(t)
	feed(t, zoneServers()+zoneClient, "bash", "-o", "pipefail", "-c",
		"meshctl inject - | kubectl -n "+ns+" apply -f -")
	rolledOut(t, ns, "deployment/zone1", "deployment/zone2", "deployment/client")

	if crossed := crossing(t, ns, 5*time.Second); crossed < 0.2 || crossed > 0.8 {
		t.Errorf("without a preference %.3f of all requests leave the zone, want about half",
			crossed)
	}
	feed(t, backendPolicy("  locality: {prefer: Zone}\n"), "kubectl", "-n", ns, "apply", "-f", "-")
	wantTrafficCondition(t, ns, "Programmed", "True Programmed")
	settles(t, ns, 0, 0)
	zone1 := func(replicas string) {
		run(t, "kubectl", "-n", ns, "scale", "deployment/zone1", "--replicas="+replicas)
		rolledOut(t, ns, "deployment/zone1")
	}
	zone1("1")
	settles(t, ns, 0.45, 0.75)
	zone1("0")
	settles(t, ns, 1, 1)
	zone1("3")
	settles(t, ns, 0, 0)
}

func zoneServers() string {
	return strings.ReplaceAll(zoneServer, "ZONE", "zone1") +
		strings.ReplaceAll(zoneServer, "ZONE", "zone2")
}

// settles waits until as many requests leave the zone as should, for some seconds.
func settles(t *testing.T, ns string, least, most float64) {
	t.Helper()
	eventually(t, 2*time.Minute, func() error {
		crossed := crossing(t, ns, 10*time.Second)
		t.Logf("%.3f of all requests leave the zone", crossed)
		if crossed < least || crossed > most {
			return fmt.Errorf("%.3f of all requests leave the zone, want %v to %v", crossed,
				least, most)
		}
		return nil
	})
}

// crossing is what part of all requests left the client's zone within a while, of which none may
// fail.
func crossing(t *testing.T, ns string, during time.Duration) float64 {
	t.Helper()
	l := startLoad(t, ns, zoneRate, "-version", "X-Pod", "http://server")
	time.Sleep(during)
	r := l.end(t)
	r.lostNothing(t)
	away := 0
	for _, s := range r.Seen {
		if !strings.HasPrefix(s.Version, "zone1-") {
			away++
		}
	}
	return float64(away) / float64(max(1, len(r.Seen)))
}
