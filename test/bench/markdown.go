package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/test/measured"
)

// document replaces the measured part of docs/performance.md, and its plot.
func (b *bench) document(docs string, results []result) error {
	path := filepath.Join(docs, "performance.md")
	if err := measured.Replace(path, "make bench", b.measured(results)); err != nil {
		return err
	}
	svg := filepath.Join(docs, "performance.svg")
	return os.WriteFile(svg, []byte(plot(results)), 0o644)
}

func (b *bench) measured(results []result) string {
	t := &tables{results: results}
	for _, p := range b.peers {
		if slices.ContainsFunc(results, func(r result) bool {
			_, ok := r.of(p.name)
			return ok && !policing(r.row)
		}) {
			t.peers = append(t.peers, p.name)
		}
	}
	sections := []string{
		b.machine(),
		"### Bars\n\n" + barTable(b.bars, results),
		"### Beside the best of the others\n\n" +
			"![Each figure beside the best peer's](performance.svg)\n",
		"### At saturation, a second\n\nThe clients send as fast as they are answered. Direct, " +
			"without a proxy, is what client and application can do.\n\n" +
			t.table(saturating, rate),
		"### Processor time, µs for each of those, caller's and callee's proxy\n\n" +
			t.table(saturating, cpuCaller, cpuCallee),
		"### System calls that read or write, for each of those, of our proxies\n\n" +
			t.of("tulle").table(saturating, callsCaller, callsCallee),
		"### At saturation, p50 / p99 ms\n\nWhoever answers slowly is asked less here, " +
			"so these compare only roughly.\n\n" + t.table(timed, p50, p99),
		fmt.Sprintf("### At %d requests/s, p50 / p99 / p99.9 ms\n\nWhat a row adds over direct "+
			"is the difference. h2load sends in bursts.\n\n", fixedRate) +
			t.table(atRate, p50, p99, p999),
		"### With policies, and where somebody looks: a second, processor time, p99 ms\n\n" +
			"Bare is the same proxy that is told of none, and at which nobody looks.\n\n" +
			t.of("tulle", "bare").table(policing, rate, cpuCaller, cpuCallee, p99),
		"### Memory and start\n\n" + t.table(weighed, value),
		t.failures(),
	}
	sections = slices.DeleteFunc(sections, func(s string) bool { return s == "" })
	return "\n" + strings.Join(sections, "\n") + "\n"
}

func saturating(r row) bool { return !r.fresh && !r.fixed && !policing(r) }
func policing(r row) bool   { return r.shape.policies != noPolicies }
func timed(r row) bool      { return saturating(r) && r.unit != "MB" }
func atRate(r row) bool     { return r.fixed }
func weighed(r row) bool    { return r.fresh }

type tables struct {
	peers   []string
	results []result
}

// of is the tables of some peers only.
func (t *tables) of(peers ...string) *tables { return &tables{peers: peers, results: t.results} }

// table has a line for each row that is wanted, and a column for each peer.
func (t *tables) table(want func(row) bool, names ...string) string {
	var s strings.Builder
	fmt.Fprintf(&s, "| | %s |\n|---|%s\n", strings.Join(t.peers, " | "),
		strings.Repeat("---|", len(t.peers)))
	for _, r := range t.results {
		if !want(r.row) {
			continue
		}
		fmt.Fprintf(&s, "| %s (%s) |", r.title, r.unit)
		for _, p := range t.peers {
			c, _ := r.of(p)
			fmt.Fprintf(&s, " %s |", c.show(names))
		}
		s.WriteString("\n")
	}
	return s.String()
}

func (c cell) show(names []string) string {
	if c.err != nil {
		return "error"
	}
	var all []string
	for _, n := range names {
		if s := figure(c.figures, n); s != "" {
			all = append(all, s)
		}
	}
	return strings.Join(all, " / ")
}

func (t *tables) failures() string {
	var s strings.Builder
	for _, r := range t.results {
		for _, c := range r.cells {
			if c.err != nil {
				fmt.Fprintf(&s, "- %s, %s: %s\n", r.name, c.peer,
					strings.ReplaceAll(c.err.Error(), "\n", " "))
			}
		}
	}
	if s.Len() == 0 {
		return ""
	}
	return "### Errors\n\n" + s.String()
}

func barTable(bars []bar, results []result) string {
	var s strings.Builder
	s.WriteString("| | figure | measured | Must | Goal | | |\n|---|---|---|---|---|---|---|\n")
	for _, v := range verdicts(bars, results) {
		fmt.Fprintf(&s, "| %s | %s |\n", v.title, strings.Join(v.columns(), " | "))
	}
	return s.String()
}
