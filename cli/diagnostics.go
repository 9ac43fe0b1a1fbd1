package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/proxy/config"
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
			pods, err := a.workloadPods(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			for i := range pods {
				if err := a.proxyMetrics(cmd.Context(), &pods[i]); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (a *app) proxyMetrics(ctx context.Context, pod *corev1.Pod) error {
	if err := meshedPod(pod); err != nil {
		return err
	}
	addr, stop, err := a.forwardPod(ctx, pod, config.AdminPort)
	if err != nil {
		return err
	}
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, metricsTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("read the metrics of %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("read the metrics of %s/%s: the proxy answered %s", pod.Namespace,
			pod.Name, resp.Status)
	}
	fmt.Fprintf(a.Out, "# %s/%s\n", pod.Namespace, pod.Name)
	_, err = io.Copy(a.Out, resp.Body)
	return err
}
