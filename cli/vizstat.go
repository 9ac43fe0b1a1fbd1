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

// vizSides are the flags that single out one side of the traffic.
type vizSides struct {
	from, fromNamespace string
	to, toNamespace     string
}

func (s *vizSides) addFrom(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.from, "from", "",
		"only requests from this workload, for example deploy/web")
	cmd.Flags().StringVar(&s.fromNamespace, "from-namespace", "", "namespace of --from")
}

func (s *vizSides) addTo(cmd *cobra.Command) {
	cmd.Flags().StringVar(
		&s.to, "to", "", "only requests to this resource, for example svc/checkout")
	cmd.Flags().StringVar(&s.toNamespace, "to-namespace", "", "namespace of --to")
}

func (s *vizSides) set(q *viz.Query) {
	q.From, q.FromNamespace, q.To, q.ToNamespace = s.from, s.fromNamespace, s.to, s.toNamespace
}

// crowded says of which rows something is counted elsewhere, or not at all.
func crowded(rows []viz.StatRow) (out []string) {
	for i := range rows {
		r := &rows[i]
		name := fmt.Sprintf("%s/%s in %s", r.Kind, r.Name, r.Namespace)
		if r.Folded > 0 {
			out = append(out, fmt.Sprintf("%s: its proxies have as many series as they may: %d "+
				"more peers or routes are counted as \"other\"", name, r.Folded))
		}
		if r.Incomplete {
			out = append(out, name+": viz has no room for all that its proxies tell: "+
				"what is shown is less than what happened")
		}
	}
	return out
}

func newVizStatCommand(v *vizApp) *cobra.Command {
	var sides vizSides
	r := &vizReport[viz.Stat]{vizApp: v}
	cmd := &cobra.Command{
		Use:   "stat KIND[/NAME] ...",
		Short: "Show success rate, requests per second and latency of resources",
		Long: `Show the golden metrics of namespaces (ns), workloads (deploy, sts, ds, job, ...),
pods or services (svc).

A workload is measured by its own proxies, so that callers without a proxy count. A service is
measured by its callers' proxies: SUCCESS is what applications saw; ACTUAL (wide) is what was
really sent, retries and all. The totals in -o json and yaml count since the proxies started;
rates and latencies are over the window.

FAULTED and LIMITED are how many requests of the window a FaultInjection took, as callers know, and
how many a rate limit or a limit of their cluster refused. EJECTED is how many endpoints some caller
has ejected now, of how many there are. They are shown where there are any, and always in wide.
IN_ZONE (wide) is the part of what was really sent that stayed in the caller's zone, where zones are
known.

MESHED is how many pods report now. A dash means that there is nothing to measure: no request in
the window.

CONFIG_AGE (wide) is how long ago destination last said something to a proxy of the row, and
REVISION a hash of what they hold of its words: STALE if they have been without destination for half
a minute or more. 'meshctl viz proxies' lists them one by one.`,
		Example: "  meshctl viz stat deploy -n shop\n  meshctl viz stat svc -o wide\n" +
			"  meshctl viz stat deploy/web --to svc/checkout\n  meshctl viz stat ns -w",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkResources(cmd, append(
				[]string{sides.from, sides.to}, args...)); err != nil {
				return err
			}
			r.ask = func(ctx context.Context, c *viz.Client, q viz.Query) (*viz.Stat, error) {
				sides.set(&q)
				return askStat(ctx, c, q, args)
			}
			r.table = func(w io.Writer, s *viz.Stat) error {
				t := statTable{wide: r.out.wide(), namespaced: v.spans(s), kinds: len(args) > 1,
					now: time.Now()}
				return t.print(w, s.Rows)
			}
			r.empty = func(s *viz.Stat) string { return v.emptyStat(s, args) }
			r.note = func(s *viz.Stat) string { return strings.Join(crowded(s.Rows), "\n") }
			return r.run(cmd)
		},
		ValidArgs: []string{"ns", "deploy", "sts", "ds", "job", "cronjob", "svc", "pod"},
	}
	sides.addFrom(cmd)
	sides.addTo(cmd)
	r.addFlags(cmd)
	return cmd
}

// checkResources refuses what is no resource before anything is reached.
func checkResources(cmd *cobra.Command, resources []string) error {
	for _, text := range resources {
		if text == "" {
			continue
		}
		if _, _, err := viz.ParseResource(text); err != nil {
			return usagef(cmd, "%w", err)
		}
	}
	return nil
}

func askStat(
	ctx context.Context, c *viz.Client, q viz.Query, resources []string,
) (*viz.Stat, error) {
	all := &viz.Stat{Rows: []viz.StatRow{}}
	for _, q.Resource = range resources {
		kind, _, _ := viz.ParseResource(q.Resource)
		asked := q
		if kind == "namespace" {
			asked.Namespace = "" // namespaces are in none: all are shown, as kubectl does
		}
		one, err := c.Stat(ctx, asked)
		if err != nil {
			return nil, err
		}
		all.Window = one.Window
		all.Rows = append(all.Rows, one.Rows...)
	}
	return all, nil
}

func (v *vizApp) emptyStat(s *viz.Stat, args []string) string {
	if len(s.Rows) > 0 {
		return ""
	}
	return v.noTraffic(args[0])
}

// spans says whether rows need a namespace column.
func (v *vizApp) spans(s *viz.Stat) bool {
	q, err := v.query()
	if err != nil || q.Namespace != "" {
		return false
	}
	for _, row := range s.Rows {
		if row.Kind != "namespace" && row.Namespace != s.Rows[0].Namespace ||
			v.all && row.Kind != "namespace" {
			return true
		}
	}
	return false
}

// statTable is how stat is drawn.
type statTable struct {
	wide, namespaced, kinds bool
	now                     time.Time
}

func (t *statTable) print(w io.Writer, rows []viz.StatRow) error {
	head := []string{"NAME", "MESHED", "SUCCESS", "RPS", "LATENCY_P50", "LATENCY_P95",
		"LATENCY_P99"}
	if t.namespaced {
		head = append([]string{"NAMESPACE"}, head...)
	}
	if t.wide {
		head = append(head, "TCP_CONN", "READ_BYTES/SEC", "WRITE_BYTES/SEC", "RETRY", "TIMEOUT",
			"EFFECTIVE", "ACTUAL", "CERT_EXPIRES", "CONFIG_AGE", "REVISION")
	}
	more := purposesOf(t.wide, rows, func(r *viz.StatRow) *viz.Figures { return &r.Figures })
	cells := make([][]string, len(rows))
	for i := range rows {
		r := &rows[i]
		cells[i] = append(t.row(r), more.cells(&r.Figures, r.MeasuredBy == "client")...)
	}
	return printTable(w, append(head, more.heads()...), cells)
}

func (t *statTable) row(r *viz.StatRow) []string {
	var out []string
	if t.namespaced {
		out = append(out, r.Namespace)
	}
	name := r.Name
	if t.kinds {
		name = r.Kind + "/" + name
	}
	out = append(out, name, meshed(r), percent(r.SuccessRate), perSecond(r.RPS), millis(r.P50Ms),
		millis(r.P95Ms), millis(r.P99Ms))
	if !t.wide {
		return out
	}
	retried, effective, actual := "-", "-", "-" // only callers know of retries
	if r.MeasuredBy == "client" {
		retried, effective, actual = percent(r.RetryRate), percent(r.SuccessRate),
			percent(r.ActualSuccessRate)
	}
	return append(out, count(r.Connections), bytesPerSecond(r.ReadBytesPerSecond),
		bytesPerSecond(r.WrittenBytesPerSecond),
		retried, count(r.WindowTimeouts), effective, actual, expiry(r.CertificateExpiry, t.now),
		ago(r.ConfigAgeSeconds), revision(r))
}

// ago is an age in one number.
func ago(seconds *float64) string {
	if seconds == nil {
		return "-"
	}
	d := time.Duration(*seconds * float64(time.Second))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours())/24)
}

func revision(r *viz.StatRow) string {
	switch {
	case r.ConfigStale > 0 && r.ConfigStale < r.Proxies:
		return fmt.Sprintf("STALE %d/%d", r.ConfigStale, r.Proxies)
	case r.ConfigStale > 0:
		return "STALE"
	case r.ConfigRevisions > 1:
		return fmt.Sprintf("%d different", r.ConfigRevisions)
	}
	return orDash(r.ConfigRevision)
}

func meshed(r *viz.StatRow) string {
	switch {
	case r.Proxies > 0:
		return strconv.Itoa(r.Proxies)
	case r.Meshed:
		return "yes"
	}
	return "-"
}

func percent(rate *float64) string {
	if rate == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f%%", *rate*100)
}

func perSecond(rate float64) string { return fmt.Sprintf("%.1frps", rate) }

func millis(ms *float64) string {
	switch {
	case ms == nil:
		return "-"
	case *ms < 10:
		return fmt.Sprintf("%.1fms", *ms)
	case *ms < 10_000:
		return fmt.Sprintf("%.0fms", *ms)
	}
	return fmt.Sprintf("%.1fs", *ms/1000)
}

func bytesPerSecond(rate float64) string {
	units := []string{"B", "KiB", "MiB", "GiB"}
	i := 0
	for ; rate >= 1024 && i < len(units)-1; i++ {
		rate /= 1024
	}
	return fmt.Sprintf("%.1f%s/s", rate, units[i])
}

func expiry(at *time.Time, now time.Time) string {
	if at == nil {
		return "-"
	}
	left := at.Sub(now)
	switch {
	case left <= 0:
		return "expired"
	case left < time.Minute:
		return left.Round(time.Second).String()
	case left < time.Hour:
		return fmt.Sprintf("%dm", int(left.Minutes()))
	}
	return fmt.Sprintf("%dh%dm", int(left.Hours()), int(left.Minutes())%60)
}
