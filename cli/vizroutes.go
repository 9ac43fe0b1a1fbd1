package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/viz"
)

func newVizRoutesCommand(v *vizApp) *cobra.Command {
	var sides vizSides
	r := &vizReport[viz.Routes]{vizApp: v}
	cmd := &cobra.Command{
		Use:   "routes [KIND[/NAME]]",
		Short: "Show each route of a service: what callers saw, and what was really sent",
		Long: `Show the routes of services, as the callers' proxies measure them.

EFFECTIVE is what applications saw, after retries. ACTUAL is every try that was sent. REFUSED
(wide) counts retries that the budget did not allow. FAULTED and LIMITED are how many requests of
the window a FaultInjection took, and how many a rate limit or a limit of their cluster refused;
EJECTED is how many endpoints some caller has ejected now, of how many there are. These are shown
where there are any, and always in wide. BACKENDS is who got how much of the window's requests,
where some route sends to several. [default] is what no route matched.`,
		Example: "  meshctl viz routes svc/checkout -n shop\n" +
			"  meshctl viz routes --from deploy/web",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkResources(cmd, append([]string{sides.from}, args...)); err != nil {
				return err
			}
			r.ask = func(ctx context.Context, c *viz.Client, q viz.Query) (*viz.Routes, error) {
				sides.set(&q)
				if len(args) > 0 {
					q.Resource = args[0]
				}
				return c.Routes(ctx, q)
			}
			r.table = func(w io.Writer, s *viz.Routes) error {
				return printRoutes(w, s.Rows, r.out.wide())
			}
			r.empty = func(s *viz.Routes) string {
				if len(s.Rows) > 0 {
					return ""
				}
				return v.noTraffic("route")
			}
			return r.run(cmd)
		},
		ValidArgs: []string{"ns", "deploy", "sts", "ds", "svc", "pod"},
	}
	sides.addFrom(cmd)
	r.addFlags(cmd)
	return cmd
}

func printRoutes(w io.Writer, rows []viz.RouteRow, wide bool) error {
	head := []string{"ROUTE", "SERVICE", "EFFECTIVE_SUCCESS", "EFFECTIVE_RPS", "ACTUAL_SUCCESS",
		"ACTUAL_RPS", "LATENCY_P50", "LATENCY_P95", "LATENCY_P99"}
	if wide {
		head = append(head, "NAMESPACE", "REQUESTS", "RETRY", "REFUSED", "TIMEOUT")
	}
	split := wide || slices.ContainsFunc(rows, func(r viz.RouteRow) bool {
		return len(r.Backends) > 1
	})
	if split {
		head = append(head, "BACKENDS")
	}
	more := purposesOf(wide, rows, func(r *viz.RouteRow) *viz.Figures { return &r.Figures })
	cells := make([][]string, len(rows))
	for i := range rows {
		cells[i] = routeCells(&rows[i], wide)
		if split {
			cells[i] = append(cells[i], backendsCell(&rows[i], wide))
		}
		cells[i] = append(cells[i], more.cells(&rows[i].Figures, true)...)
	}
	return printTable(w, append(head, more.heads()...), cells)
}

func routeCells(r *viz.RouteRow, wide bool) []string {
	out := []string{r.Route, r.Service, percent(r.SuccessRate), perSecond(r.RPS),
		percent(r.ActualSuccessRate), perSecond(r.ActualRPS),
		millis(r.P50Ms), millis(r.P95Ms), millis(r.P99Ms)}
	if wide {
		out = append(out, dash(r.Namespace), count(r.Requests), percent(r.RetryRate),
			count(r.RetriesRefused), count(r.WindowTimeouts))
	}
	return out
}

// backendsCell is who got how much of the window's requests: "web-v1 90%, web-v2 10%". Where there
// is but one, only a wide table says who.
func backendsCell(r *viz.RouteRow, wide bool) string {
	if len(r.Backends) == 1 && !wide {
		return "-"
	}
	var all []string
	for _, b := range r.Backends {
		share := "-"
		if b.Share != nil {
			share = fmt.Sprintf("%.0f%%", *b.Share*100)
		}
		name, rest, _ := strings.Cut(b.Backend, ".")
		if ns, _, _ := strings.Cut(rest, "."); ns != r.Namespace && ns != "" {
			name += "." + ns
		}
		all = append(all, name+" "+share)
	}
	return dash(strings.Join(all, ", "))
}

func count(n uint64) string { return strconv.FormatUint(n, 10) }
