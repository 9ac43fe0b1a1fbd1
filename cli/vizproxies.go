package cli

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/viz"
)

func newVizProxiesCommand(v *vizApp) *cobra.Command {
	r := &vizReport[viz.Proxies]{vizApp: v}
	cmd := &cobra.Command{
		Use:   "proxies [KIND[/NAME]]",
		Short: "List the proxies: version, age of their configuration, certificate",
		Long: `List the proxies that report: which version each is, how long it has run, how long
ago destination last said something to it, a hash of what it holds of destination's words, and when
its certificate expires.

While a proxy is connected to destination what it holds is current, however long ago it changed.
REVISION is STALE when it has been without destination for half a minute or more: it goes on with
what it holds.`,
		Example: "  meshctl viz proxies -A\n  meshctl viz proxies deploy/web -n shop -o json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkResources(cmd, args); err != nil {
				return err
			}
			r.ask = func(ctx context.Context, c *viz.Client, q viz.Query) (*viz.Proxies, error) {
				if len(args) > 0 {
					q.Resource = args[0]
				}
				return c.Proxies(ctx, q)
			}
			r.table = func(w io.Writer, p *viz.Proxies) error { return printProxies(w, p.Rows) }
			r.empty = func(p *viz.Proxies) string {
				if len(p.Rows) > 0 {
					return ""
				}
				return v.noTraffic("proxy")
			}
			return r.run(cmd)
		},
		ValidArgs: []string{"deploy", "sts", "ds", "job", "cronjob", "pod"},
	}
	r.addFlags(cmd)
	return cmd
}

func printProxies(w io.Writer, rows []viz.ProxyRow) error {
	now := time.Now()
	var cells [][]string
	for i := range rows {
		r := &rows[i]
		up := now.Sub(r.Started).Seconds()
		held := orDash(r.ConfigRevision)
		if r.ConfigStale {
			held = "STALE"
		}
		cells = append(cells, []string{r.Namespace, r.Pod, r.Kind + "/" + r.Workload, r.Version,
			ago(&up), ago(r.ConfigAgeSeconds), held, expiry(r.CertificateExpiry, now)})
	}
	return printTable(w, []string{"NAMESPACE", "POD", "WORKLOAD", "VERSION", "UP", "CONFIG_AGE",
		"REVISION", "CERT_EXPIRES"}, cells)
}
