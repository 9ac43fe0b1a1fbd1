package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/viz"
)

func newVizEdgesCommand(v *vizApp) *cobra.Command {
	r := &vizReport[viz.Edges]{vizApp: v}
	cmd := &cobra.Command{
		Use:   "edges [KIND[/NAME]]",
		Short: "Show who talks to whom, with both identities, and whether it is encrypted",
		Long: `Show connections between workloads, each with the SPIFFE ID that either end proved.

SECURED is "yes" for the mesh's mutual TLS, and otherwise says why not. REPORTED_BY (wide) is
"both" when the proxies of both ends told of the same two identities. EJECTED is how many of the
destination's endpoints the source has ejected now; it, FAULTED and LIMITED are shown where there
are any, and always in wide. An edge is shown while it
is open, and for five minutes after its last byte.`,
		Example: "  meshctl viz edges -n shop\n  meshctl viz edges deploy/web\n" +
			"  meshctl viz edges pod -A -o wide",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkResources(cmd, args); err != nil {
				return err
			}
			r.ask = func(ctx context.Context, c *viz.Client, q viz.Query) (*viz.Edges, error) {
				if len(args) > 0 {
					q.Resource = args[0]
				}
				return c.Edges(ctx, q)
			}
			r.table = func(w io.Writer, e *viz.Edges) error {
				return printEdges(w, e.Rows, r.out.wide())
			}
			r.empty = func(e *viz.Edges) string {
				if len(e.Rows) > 0 {
					return ""
				}
				return v.noTraffic("edge")
			}
			r.note = func(e *viz.Edges) string {
				if e.Omitted == 0 {
					return ""
				}
				return fmt.Sprintf("these are the %d busiest of %d edges: name a workload or a "+
					"namespace to see all of its", len(e.Rows), len(e.Rows)+e.Omitted)
			}
			return r.run(cmd)
		},
		ValidArgs: []string{"ns", "deploy", "sts", "ds", "job", "cronjob", "svc", "pod"},
	}
	r.addFlags(cmd)
	return cmd
}

func printEdges(w io.Writer, rows []viz.EdgeRow, wide bool) error {
	head := []string{"SRC", "DST", "SRC_NS", "DST_NS", "CLIENT_ID", "SERVER_ID", "SECURED"}
	if wide {
		head = append(head, "REPORTED_BY", "SUCCESS", "RPS", "TCP_CONN")
	}
	more := purposesOf(wide, rows, func(r *viz.EdgeRow) *viz.Figures { return &r.Figures })
	cells := make([][]string, len(rows))
	for i := range rows {
		r := &rows[i]
		cells[i] = append(edgeCells(r, wide), more.cells(&r.Figures, r.ReportedBy != "server")...)
	}
	return printTable(w, append(head, more.heads()...), cells)
}

func edgeCells(r *viz.EdgeRow, wide bool) []string {
	secured := "yes"
	if !r.Encrypted {
		secured = "no: " + r.Reason
	}
	out := []string{r.Src, r.Dst, dash(r.SrcNamespace), dash(r.DstNamespace), dash(r.ClientID),
		dash(r.ServerID), secured}
	if wide {
		out = append(out, r.ReportedBy, percent(r.SuccessRate), perSecond(r.RPS),
			count(r.Connections))
	}
	return out
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
