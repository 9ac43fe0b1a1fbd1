package manifest

import (
	"maps"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tulle-mesh/tulle/identity/names"
	"github.com/tulle-mesh/tulle/injector"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// Prometheus is who reads the mesh's figures.
type Prometheus struct {
	Namespace string   // whose pods may; "" is none
	Compat    []string // whose names viz's page has beside ours
	Monitors  bool     // the Prometheus operator's kinds say where to read
	Labels    map[string]string
	Push      string // URL to which viz sends them
}

func (p Prometheus) args() (args []string) {
	if p.Namespace != "" {
		args = append(args, "--metrics-listen=:"+strconv.Itoa(config.VizMetricsPort))
	}
	if p.Push != "" {
		args = append(args, "--metrics-push="+p.Push)
	}
	if len(p.Compat) > 0 {
		args = append(args, "--metrics-compat="+strings.Join(p.Compat, ","))
	}
	return args
}

// scrapeInterval is half of what the shortest window of a rate has: two samples.
const scrapeInterval = "10s"

// fleetSeries are what is read of each proxy: about itself, and not by whom it calls. For that
// there is viz's page, where all pods of a workload are one.
const fleetSeries = "process_.*|go_goroutines|go_info|tulle_build_info|tulle_proxy_.*|" +
	"tulle_certificate_.*|tulle_certificates_not_yet_valid_total|" +
	"tulle_series_dropped_total|tulle_connections_refused_total|" +
	"tulle_protocol_errors_total|tulle_outcome_reasons_total|tulle_control_plane_errors_total|" +
	"tulle_work_shed_total|tulle_spans_total|tulle_config_.*"

// monitors are what the operator's Prometheus reads, if it is to be told: viz's page of the mesh,
// what each server tells of itself, and each proxy. They are the operator's kinds, written without
// its types: those would bring all of its dependencies for three objects.
func (c Config) monitors() []runtime.Object {
	if !c.Prometheus.Monitors {
		return nil
	}
	return []runtime.Object{
		c.monitor("ServiceMonitor", names.Viz, map[string]any{
			"selector": matchLabels("app.kubernetes.io/name", names.Viz),
			"endpoints": []any{map[string]any{"port": "metrics", "path": "/metrics",
				"interval": scrapeInterval, "honorLabels": true}},
		}),
		c.monitor("PodMonitor", controlPlaneMonitor, map[string]any{
			"selector": matchLabels(partOf, names.Mesh),
			"podMetricsEndpoints": []any{map[string]any{"port": "health", "path": "/metrics",
				"interval": scrapeInterval}},
		}),
		c.monitor("PodMonitor", proxiesMonitor, map[string]any{
			"namespaceSelector": map[string]any{"any": true},
			"selector":          matchLabels(names.LabelMesh, names.Mesh),
			"podMetricsEndpoints": []any{map[string]any{"port": injector.AdminPortName,
				"path": "/metrics", "interval": scrapeInterval,
				"metricRelabelings": []any{map[string]any{"action": "keep",
					"sourceLabels": []any{"__name__"}, "regex": fleetSeries}}}},
		}),
	}
}

const (
	controlPlaneMonitor = "tulle-control-plane"
	proxiesMonitor      = "tulle-proxies"
)

func matchLabels(name, value string) map[string]any {
	return map[string]any{"matchLabels": map[string]any{name: value}}
}

func (c Config) monitor(kind, name string, spec map[string]any) runtime.Object {
	all := labels(name)
	maps.Copy(all, c.Prometheus.Labels)
	o := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	o.SetAPIVersion("monitoring.coreos.com/v1")
	o.SetKind(kind)
	o.SetName(name)
	o.SetNamespace(c.Injector.Namespace)
	o.SetLabels(all)
	return o
}
