package cli

import (
	"context"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/viz"
	"github.com/tulle-mesh/tulle/viz/slo"
)

func newSLOCommand(a *app) *cobra.Command {
	v := &vizApp{app: a, window: viz.DefaultWindow}
	r := &vizReport[viz.Objectives]{vizApp: v}
	cmd := &cobra.Command{
		Use:   "slo [NAME]",
		Short: "Show how service level objectives stand: budgets, and how fast they burn",
		Long: `Show the ServiceLevelObjectives of a namespace, as viz counts them: which part of the
requests went well since SINCE, how much of the window's error budget is left, how fast it burns
(1 uses it up in just the window), and after how long none is left if it goes on as in the last
hour.

ALERT says who must look: page now, ticket in the next days, and which window says so: an hour and
its last 5 minutes, 6 hours and 30 minutes, a day and 2 hours, 3 days and 6 hours. 'meshctl slo
rules' prints the same for Prometheus.

Viz is reached by a port-forward. In a folder where 'meshctl dev up' runs, its mesh is asked.`,
		Example: "  meshctl slo -n shop\n  meshctl slo checkout -n shop -o wide\n" +
			"  meshctl slo -A -w",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runSLO(cmd, r, args)
		},
	}
	v.addReach(cmd)
	r.addFlags(cmd)
	cmd.AddCommand(newSLORulesCommand(a), newSLOImportCommand(a))
	return cmd
}

// addReach gives a command the flags of where viz is, and of which namespaces are asked for.
func (v *vizApp) addReach(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(
		&v.addr, "viz-addr", "", "ask the viz at this host:port instead of looking for one")
	flags.BoolVarP(&v.all, "all-namespaces", "A", false, "show every namespace")
}

func runSLO(cmd *cobra.Command, r *vizReport[viz.Objectives], args []string) error {
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	r.ask = func(ctx context.Context, c *viz.Client, q viz.Query) (*viz.Objectives, error) {
		q.Name = name
		return c.Objectives(ctx, q)
	}
	r.table = func(w io.Writer, o *viz.Objectives) error {
		t := sloTable{wide: r.out.wide(), namespaced: r.all, now: time.Now()}
		return t.print(w, o.Rows)
	}
	r.empty = func(o *viz.Objectives) string { return r.emptySLO(o, name) }
	return r.run(cmd)
}

func (v *vizApp) emptySLO(o *viz.Objectives, name string) string {
	switch {
	case o.Refused > 0:
		return fmt.Sprintf("viz counts %d objectives, and %d more than that are not counted",
			slo.MaxObjectives, o.Refused)
	case len(o.Rows) > 0:
		return ""
	case name != "":
		return fmt.Sprintf("no ServiceLevelObjective %q %s: 'kubectl get slo -A' lists those that "+
			"are written, and whether they are accepted.", name, v.where())
	}
	return fmt.Sprintf("no ServiceLevelObjective %s: docs/slo.md has one to begin with.", v.where())
}

// sloTable is how objectives are drawn.
type sloTable struct {
	wide, namespaced bool
	now              time.Time
}

func (t *sloTable) print(w io.Writer, rows []viz.ObjectiveRow) error {
	head := []string{"NAME", "TARGET", "OBJECTIVE", "WINDOW", "OK", "SINCE", "BUDGET_LEFT",
		"BURN_1H", "BURN_6H", "EXHAUSTED_IN", "ALERT"}
	if t.namespaced {
		head = append([]string{"NAMESPACE"}, head...)
	}
	if t.wide {
		head = append(head, "LATENCY", "REQUESTS", "BAD", "BURN_5M", "BURN_30M", "BURN_1D",
			"BURN_3D")
	}
	cells := make([][]string, len(rows))
	for i := range rows {
		cells[i] = t.row(&rows[i])
	}
	return printTable(w, head, cells)
}

func (t *sloTable) row(r *viz.ObjectiveRow) []string {
	var out []string
	if t.namespaced {
		out = append(out, r.Namespace)
	}
	target := r.Service
	if r.Route != "" {
		target += " " + r.Route
	}
	out = append(out, r.Name, target, exactPercent(r.Objective),
		slo.Short(seconds(r.WindowSeconds)), exactPercentOf(r.SuccessRate), t.since(r.Since),
		fmt.Sprintf("%.1f%%", 100*r.BudgetLeft),
		burnCell(r, "1h"), burnCell(r, "6h"), exhaustedCell(r.ExhaustedInSeconds), alertCell(r))
	if !t.wide {
		return out
	}
	return append(out, millis(r.LatencyMs), count(r.Requests), count(r.Bad), burnCell(r, "5m"),
		burnCell(r, "30m"), burnCell(r, "1d"), burnCell(r, "3d"))
}

// since is a time of today, or a day.
func (t *sloTable) since(at time.Time) string {
	at = at.In(t.now.Location())
	if t.now.Sub(at) < 24*time.Hour {
		return at.Format("15:04")
	}
	return at.Format(time.DateOnly)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// exactPercent shows what two digits would hide: 99.95 and 99.999 are not the same promise. It does
// not round up to a hundred.
func exactPercent(ratio float64) string {
	const digits = 1e4
	percent := math.Floor(100*ratio*digits+1e-6) / digits
	return strconv.FormatFloat(percent, 'f', -1, 64) + "%"
}

func exactPercentOf(ratio *float64) string {
	if ratio == nil {
		return "-"
	}
	return exactPercent(*ratio)
}

func burnCell(r *viz.ObjectiveRow, window string) string {
	for _, b := range r.Burns {
		if b.Window == window && b.Rate != nil {
			return fmt.Sprintf("%.1f", *b.Rate)
		}
	}
	return "-"
}

// exhaustedCell has two units at most: nobody plans minutes of next week.
func exhaustedCell(s *float64) string {
	if s == nil {
		return "-"
	}
	left := seconds(*s)
	switch {
	case left <= 0:
		return "now"
	case left < time.Minute:
		return "<1m"
	case left < time.Hour:
		return fmt.Sprintf("%dm", left/time.Minute)
	case left < 24*time.Hour:
		return fmt.Sprintf("%dh%dm", left/time.Hour, left%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dd%dh", left/(24*time.Hour), left%(24*time.Hour)/time.Hour)
}

func alertCell(r *viz.ObjectiveRow) string {
	if r.Alert == nil {
		return "-"
	}
	return r.Alert.Severity + " (" + r.Alert.Long + ")"
}
