package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/objectives"
	"github.com/tulle-mesh/tulle/destination/crd"
)

func newSLOImportCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "import FILE...",
		Short: "Print ServiceLevelObjectives for what OpenSLO, Sloth or Pyrra have",
		Long: `Print a ServiceLevelObjective for each of OpenSLO's SLOs (openslo/v1), Sloth's
PrometheusServiceLevels and Pyrra's ServiceLevelObjectives in files; - is standard input.

Theirs say by a query what goes well. Those come over that are about requests to one Service, as
Istio, Linkerd or this mesh count them: istio_requests_total and istio_request_duration_milliseconds
by destination_service_name or destination_service, response_total and response_latency_ms by
dst_service or authority, tulle_workload_requests_total and its durations by service. Of every
other the error names the field; nothing is printed then.`,
		Example: "  meshctl slo import sloth.yaml | kubectl apply -f -",
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return a.importObjectives(args) },
	}
}

func (a *app) importObjectives(paths []string) error {
	var all []*crd.ServiceLevelObjective
	var problems []error
	for _, path := range paths {
		text, err := a.readInput(path)
		if err == nil {
			var some []*crd.ServiceLevelObjective
			some, err = objectives.Import(path, text)
			all = append(all, some...)
		}
		problems = append(problems, err)
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	for _, o := range all {
		fmt.Fprintln(a.Out, "---")
		metadata := map[string]string{"name": o.Name}
		if o.Namespace != "" {
			metadata["namespace"] = o.Namespace
		}
		err := printYAML(a.Out, struct {
			metav1.TypeMeta `json:",inline"`

			Metadata map[string]string             `json:"metadata"`
			Spec     crd.ServiceLevelObjectiveSpec `json:"spec"`
		}{o.TypeMeta, metadata, o.Spec})
		if err != nil {
			return err
		}
	}
	return nil
}
