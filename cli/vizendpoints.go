package cli

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/viz"
)

func newVizEndpointsCommand(v *vizApp) *cobra.Command {
	r := &vizReport[viz.Endpoints]{vizApp: v}
	cmd := &cobra.Command{
		Use:   "endpoints KIND/NAME",
		Short: "Ask the proxies that call a service how its endpoints are doing",
		Long: `Ask the proxies that call a service, or a workload or a pod behind one, how its
endpoints are doing as they see them: the latency that the balancer expects (EWMA), the requests
under way, and whether the endpoint gets requests at all.

STATE is ready, ejected (it failed), probation (its ejection is over, and the next request decides)
or unhealthy (it could not be dialed, or has asked for time). UNTIL (wide) is how long it stays so.

Only the proxies know, and they tell it when they are asked: each within two seconds, at most 50 of
them, and each of at most 100 endpoints. What was left off, and who was silent, is said below.`,
		Example: "  meshctl viz endpoints svc/web -n shop\n" +
			"  meshctl viz endpoints deploy/checkout -o wide",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, name, err := viz.ParseResource(args[0]); err != nil {
				return usagef(cmd, "%w", err)
			} else if name == "" {
				return usagef(cmd, "%q: name one: for example svc/web", args[0])
			}
			r.ask = func(ctx context.Context, c *viz.Client, q viz.Query) (*viz.Endpoints, error) {
				q.Resource = args[0]
				return c.Endpoints(ctx, q)
			}
			r.table = func(w io.Writer, e *viz.Endpoints) error {
				return printEndpoints(w, e.Rows, r.out.wide())
			}
			r.empty, r.note = v.noEndpoints, leftOff
			return r.run(cmd)
		},
		ValidArgs: []string{"svc", "deploy", "sts", "ds", "job", "cronjob", "pod"},
	}
	r.addFlags(cmd)
	return cmd
}

func printEndpoints(w io.Writer, rows []viz.EndpointRow, wide bool) error {
	head := []string{"SERVICE", "POD", "ADDRESS", "STATE", "EWMA", "IN_FLIGHT", "PROXY"}
	if wide {
		head = append(head, "WORKLOAD", "WEIGHT", "UNTIL")
	}
	cells := make([][]string, len(rows))
	for i := range rows {
		r := &rows[i]
		cells[i] = []string{r.Service, dash(r.Pod), r.Address, r.State, millis(r.EWMAMs),
			count(r.InFlight), r.Proxy}
		if wide {
			cells[i] = append(cells[i], dash(r.Workload), strconv.Itoa(int(r.Weight)),
				clock(r.Until))
		}
	}
	return printTable(w, head, cells)
}

// clock is a moment of today.
func clock(at *time.Time) string {
	if at == nil {
		return "-"
	}
	return at.UTC().Format("15:04:05Z")
}

// noEndpoints explains an answer without rows.
func (v *vizApp) noEndpoints(e *viz.Endpoints) string {
	switch {
	case len(e.Rows) > 0:
		return ""
	case e.Asked == 0:
		return "no proxy has called it yet, so none knows its endpoints: " + v.where()
	case len(e.Silent) < e.Asked:
		return "the proxies that called it know no endpoint of it now"
	}
	return leftOff(e)
}

// leftOff says what is not in an answer.
func leftOff(e *viz.Endpoints) string {
	var all []string
	if n := len(e.Silent); n > 0 {
		all = append(all, fmt.Sprintf("%d of the %d proxies asked did not answer, for they are of "+
			"an older version, or not connected to viz: %s", n, e.Asked,
			strings.Join(e.Silent, ", ")))
	}
	if e.OmittedProxies > 0 {
		all = append(all, fmt.Sprintf("%d more proxies call it and were not asked",
			e.OmittedProxies))
	}
	if e.OmittedEndpoints > 0 {
		all = append(all, fmt.Sprintf("%d more endpoints were left off the proxies' answers",
			e.OmittedEndpoints))
	}
	return strings.Join(all, "\n")
}
