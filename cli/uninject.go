package cli

import (
	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/injector"
)

func newUninjectCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "uninject FILE|FOLDER|- ...",
		Short: "Take the proxy out of the workloads in YAML or JSON files",
		Long: "Print the files without what 'meshctl inject' or the webhook added. " +
			"Everything else stays byte for byte.",
		Example: "  kubectl get deploy/web -o yaml | meshctl uninject - | kubectl apply -f -\n" +
			"  meshctl uninject injected.yaml",
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return a.rewrite(args, "uninjected", injector.UninjectText)
		},
	}
}
