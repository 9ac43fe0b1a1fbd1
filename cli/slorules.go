package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/objectives"
	"github.com/tulle-mesh/tulle/viz"
	"github.com/tulle-mesh/tulle/viz/slo"
)

// sloRules is one run of `meshctl slo rules`.
type sloRules struct {
	*vizApp
	plain bool
}

func newSLORulesCommand(a *app) *cobra.Command {
	r := &sloRules{vizApp: &vizApp{app: a, window: viz.DefaultWindow}}
	cmd := &cobra.Command{
		Use:   "rules [FILE...]",
		Short: "Print alerting rules for Prometheus that say the same as meshctl slo",
		Long: `Print rules for Prometheus, by the same windows and burn rates as 'meshctl slo' goes
by, for the ServiceLevelObjectives in files, or without a file for those that viz counts. They read
tulle_objective_requests_total and tulle_objective_bad_requests_total, which viz serves where
'meshctl install --prometheus-namespace' let a Prometheus in.

It is a PrometheusRule, for the Prometheus operator; --plain prints a rule file.`,
		Example: "  meshctl slo rules -A | kubectl apply -n monitoring -f -\n" +
			"  meshctl slo rules --plain objectives.yaml",
		RunE: func(cmd *cobra.Command, args []string) error { return r.run(cmd.Context(), args) },
	}
	r.addReach(cmd)
	cmd.Flags().BoolVar(&r.plain, "plain", false,
		"print a rule file, as Prometheus itself reads it")
	return cmd
}

func (r *sloRules) run(ctx context.Context, paths []string) error {
	all, err := r.objectives(ctx, paths)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		return fmt.Errorf("there is no ServiceLevelObjective %s: name a file, or write one "+
			"(docs/slo.md)", r.where())
	}
	groups := slo.RuleGroups(all)
	if r.plain {
		return printYAML(r.Out, ruleFile{groups})
	}
	return printYAML(r.Out, prometheusRule{
		TypeMeta: metav1.TypeMeta{APIVersion: "monitoring.coreos.com/v1", Kind: "PrometheusRule"},
		Metadata: map[string]string{"name": "service-level-objectives"},
		Spec:     ruleFile{groups},
	})
}

// ruleFile is what Prometheus reads.
type ruleFile struct {
	Groups []slo.RuleGroup `json:"groups"`
}

// prometheusRule is the Prometheus operator's.
type prometheusRule struct {
	metav1.TypeMeta `json:",inline"`

	Metadata map[string]string `json:"metadata"`
	Spec     ruleFile          `json:"spec"`
}

func (r *sloRules) objectives(ctx context.Context, paths []string) ([]slo.Objective, error) {
	if len(paths) > 0 {
		return objectives.Read(paths)
	}
	link, err := r.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer link.close()
	q, err := r.query()
	if err != nil {
		return nil, err
	}
	answer, err := askViz(ctx, link, func(c *viz.Client) (*viz.Objectives, error) {
		return c.Objectives(ctx, q)
	})
	if err != nil {
		return nil, err
	}
	out := make([]slo.Objective, len(answer.Rows))
	for i, row := range answer.Rows {
		out[i] = slo.Objective{Namespace: row.Namespace, Name: row.Name, Service: row.Service,
			Route: row.Route, Target: row.Objective, Window: seconds(row.WindowSeconds)}
		if row.LatencyMs != nil {
			out[i].Latency = time.Duration(*row.LatencyMs * float64(time.Millisecond))
		}
	}
	return out, nil
}
