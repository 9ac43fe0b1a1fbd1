//go:build e2e && real

package e2e

import (
	"fmt"
	"testing"
	"time"
)

// jaegerYAML is Jaeger in a pod that takes no plaintext: what it gets, proxies that it knows send.
const jaegerYAML = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: jaeger}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: jaeger}
data:
  jaeger.yaml: |
    service:
      extensions: [jaeger_storage, jaeger_query]
      pipelines:
        traces: {receivers: [otlp], processors: [batch], exporters: [jaeger_storage_exporter]}
      telemetry: {metrics: {level: none}, logs: {level: warn}}
    extensions:
      jaeger_query:
        storage: {traces: memory}
        http: {endpoint: "0.0.0.0:16686"}
        grpc: {endpoint: "0.0.0.0:16685"}
      jaeger_storage: {backends: {memory: {memory: {max_traces: 10000}}}}
    receivers:
      otlp: {protocols: {grpc: {endpoint: "0.0.0.0:4317"}}}
    processors: {batch: {timeout: 200ms}}
    exporters:
      jaeger_storage_exporter: {trace_storage: memory}
---
apiVersion: v1
kind: Service
metadata: {name: jaeger}
spec:
  selector: {app: jaeger}
  ports: [{name: otlp, port: 4317}, {name: query, port: 16686}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: jaeger}
spec:
  selector: {matchLabels: {app: jaeger}}
  template:
    metadata: {labels: {app: jaeger}, annotations: {tulle.dev/mode: strict}}
    spec:
      serviceAccountName: jaeger
      containers:
      - name: jaeger
        image: test/jaeger:e2e
        args: [--config, /etc/jaeger/jaeger.yaml]
        ports: [{name: otlp, containerPort: 4317}, {name: query, containerPort: 16686}]
        volumeMounts: [{name: config, mountPath: /etc/jaeger}]
      volumes: [{name: config, configMap: {name: jaeger}}]
`

// A collector of the mesh gets spans over mTLS from proxies that a TelemetryPolicy sends to it.
func TestAJaegerOfTheMeshHasTheTraces(t *testing.T) {
	ready(t)
	ns := ownNamespace(t)
	feed(t, jaegerYAML, "bash", "-o", "pipefail", "-c",
		"meshctl inject - | kubectl apply -n "+ns+" -f -")
	shell(t, "meshctl inject testdata/app.yaml | kubectl apply -n "+ns+" -f -")
	rolledOut(t, ns, "deployment/jaeger", "deployment/server", "deployment/client")
	feed(t, "apiVersion: tulle.dev/v1alpha1\nkind: TelemetryPolicy\nmetadata: {name: traces}\n"+
		"spec: {targetRefs: [{kind: Namespace, name: "+ns+"}], tracing: {samplingRate: "+
		"{numerator: 100}, provider: {address: 'jaeger."+ns+":4317'}}}\n",
		"kubectl", "-n", ns, "apply", "-f", "-")
	eventually(t, 2*time.Minute, func() error {
		call(t, ns, "http://server."+ns+"/fine")
		said := app[[]tracesAnswer](t, ns, "deploy/client", "call",
			"http://jaeger."+ns+":16686/api/traces?service=server&limit=20")[0]
		for _, trace := range said.Echo.Data {
			if len(trace.Spans) == 2 {
				return nil
			}
		}
		return fmt.Errorf("Jaeger has %+v", said)
	})
}

// tracesAnswer is what `app call` prints of Jaeger's, which is JSON as an echo is.
type tracesAnswer struct {
	Status int
	Error  string
	Echo   struct {
		Data []struct {
			Spans []struct{ OperationName string }
		}
	}
}
