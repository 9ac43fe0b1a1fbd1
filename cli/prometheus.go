package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/viz"
)

// prometheusFlags say who reads the mesh's figures, and how.
type prometheusFlags struct {
	namespace string
	compat    []string
	monitors  bool
	labels    map[string]string
	push      string
}

func (p *prometheusFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&p.namespace, "prometheus-namespace", "",
		"namespace whose pods may read viz's metrics of the mesh; without it nobody may")
	addCompat(flags, &p.compat)
	flags.BoolVar(&p.monitors, "prometheus-monitors", false,
		"print a ServiceMonitor and PodMonitors too, for the Prometheus operator")
	flags.StringToStringVar(&p.labels, "prometheus-monitor-labels", nil,
		"labels of these, by which the operator's Prometheus selects them: release=NAME")
	addPush(flags, &p.push)
}

func addPush(flags *pflag.FlagSet, push *string) {
	flags.StringVar(push, "metrics-push", "",
		"URL to which viz sends the mesh's metrics as OTLP over HTTP, for example "+
			"http://otel-collector.monitoring:4318/v1/metrics")
}

func checkPush(push string) error {
	if push == "" {
		return nil
	}
	if err := viz.CheckPush(push); err != nil {
		return fmt.Errorf("--metrics-push: %w", err)
	}
	return nil
}

func addCompat(flags *pflag.FlagSet, compat *[]string) {
	flags.StringSliceVar(compat, "metrics-compat", nil,
		"whose names viz's metrics have beside ours: "+strings.Join(viz.CompatViews(), ", "))
}

func checkCompat(compat []string) error {
	for _, name := range compat {
		if !slices.Contains(viz.CompatViews(), name) {
			return fmt.Errorf("--metrics-compat %q: use %s", name,
				strings.Join(viz.CompatViews(), ", "))
		}
	}
	return nil
}

func (p *prometheusFlags) config() (manifest.Prometheus, error) {
	out := manifest.Prometheus{Namespace: p.namespace, Compat: p.compat, Monitors: p.monitors,
		Labels: p.labels, Push: p.push}
	if p.namespace != "" && len(validation.IsDNS1123Label(p.namespace)) > 0 {
		return out, fmt.Errorf("--prometheus-namespace %q: no namespace is called so", p.namespace)
	}
	if err := errors.Join(checkCompat(p.compat), checkPush(p.push)); err != nil {
		return out, err
	}
	if p.namespace == "" && p.monitors {
		return out, errors.New("--prometheus-monitors is for who may read viz's metrics: say " +
			"with --prometheus-namespace where that runs")
	}
	if p.namespace == "" && p.push == "" && len(p.compat) > 0 {
		return out, errors.New("--metrics-compat is for who gets viz's metrics: say so with " +
			"--prometheus-namespace or --metrics-push")
	}
	for name, value := range p.labels {
		if len(validation.IsQualifiedName(name)) > 0 ||
			len(validation.IsValidLabelValue(value)) > 0 {
			return out, fmt.Errorf("--prometheus-monitor-labels %s=%s: no label is so", name, value)
		}
	}
	return out, nil
}
