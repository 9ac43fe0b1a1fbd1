package cli

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
)

// metricsTimeout is for one scrape through a port-forward.
const metricsTimeout = 15 * time.Second

func newDiagnosticsCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "diagnostics",
		Aliases: []string{"diag"},
		Short:   "Look into the mesh: what proxies are told and what they count",
		Long: "Look into the mesh: what destination tells proxies about a name, and what a " +
			"proxy counts.",
		Example: "  meshctl diagnostics endpoints web.shop.svc.cluster.local:80\n" +
			"  meshctl diagnostics profile web.shop.svc.cluster.local:80\n" +
			"  meshctl diagnostics proxy-metrics deploy/web",
	}
	cmd.AddCommand(newEndpointsCommand(a), newProfileCommand(a), newProxyMetricsCommand(a))
	return cmd
}

func newProxyMetricsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "proxy-metrics POD | KIND/NAME",
		Short: "Print a proxy's metrics, as Prometheus reads them",
		Long: "Print what the proxies of a pod or workload answer on /metrics, in " +
			"Prometheus' text format, through a port-forward to their admin port.",
		Example: "  meshctl diagnostics proxy-metrics web-6f7d9c-x2x4z\n" +
			"  meshctl diagnostics proxy-metrics deploy/web -n shop",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completePods,
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := a.proxyAdmins(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			for i := range all {
				if err := a.proxyMetrics(cmd.Context(), &all[i]); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (a *app) proxyMetrics(ctx context.Context, p *proxyAdmin) error {
	addr, stop, err := p.open(ctx)
	if err != nil {
		return err
	}
	defer stop()
	text, err := p.ask(ctx, addr, http.MethodGet, "/metrics", "")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.Out, "# %s/%s\n%s", p.namespace, p.pod, text)
	return err
}
