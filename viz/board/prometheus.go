package board

import (
	"fmt"

	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/identity/names"
)

// ruleGroup is Prometheus's.
type ruleGroup struct {
	Name  string `json:"name"`
	Rules []rule `json:"rules"`
}

type rule struct {
	Record      string            `json:"record,omitempty"`
	Alert       string            `json:"alert,omitempty"`
	Expr        string            `json:"expr"`
	For         string            `json:"for,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// groups are all recordings, and after them the alerts that use them.
type groups struct {
	Groups []ruleGroup `json:"groups"`
}

func allGroups(rules []Rule) groups {
	recordings, alerts := ruleGroup{Name: "tulle.recordings"}, ruleGroup{Name: "tulle.alerts"}
	for _, r := range Recordings() {
		recordings.Rules = append(recordings.Rules, rule{Record: r.Record, Expr: r.Expr})
	}
	for _, r := range rules {
		one := rule{Alert: r.Alert, Expr: r.Expr, Labels: r.Labels, Annotations: r.Annotations}
		if r.For > 0 {
			one.For = fmt.Sprintf("%ds", int(r.For.Seconds()))
		}
		alerts.Rules = append(alerts.Rules, one)
	}
	return groups{[]ruleGroup{recordings, alerts}}
}

// RuleFile is what Prometheus's rule_files names: all recordings, and the rules.
func RuleFile(rules []Rule) ([]byte, error) { return yaml.Marshal(allGroups(rules)) }

// Object says how a Kubernetes object is called.
type Object struct {
	Namespace string
	Labels    map[string]string // of objects, beside those that make them found
}

// PrometheusRule is the same as an object of the Prometheus operator's.
func PrometheusRule(rules []Rule, o Object) ([]byte, error) {
	return yaml.Marshal(map[string]any{
		"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule",
		"metadata": o.meta(names.Mesh, nil), "spec": allGroups(rules),
	})
}

func (o Object) meta(name string, labels map[string]string) map[string]any {
	all := map[string]string{"app.kubernetes.io/part-of": names.Mesh}
	for _, some := range []map[string]string{labels, o.Labels} {
		for k, v := range some {
			all[k] = v
		}
	}
	out := map[string]any{"name": name, "labels": all}
	if o.Namespace != "" {
		out["namespace"] = o.Namespace
	}
	return out
}
