package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
)

// printRow is a row's table: a line for each peer.
func printRow(w io.Writer, r result) {
	fmt.Fprintf(w, "\n%s (%s)\n", r.title, r.name)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	defer printErrors(w, r)
	defer t.Flush()
	if r.fresh {
		printWeights(t, r)
		return
	}
	fmt.Fprintf(t, "\t%s/s\tp50 ms\tp99 ms\tp99.9 ms\t"+
		"CPU µs/%s, caller\tcallee\tRSS MB\ttulle is\t\n", r.unit, r.unit)
	ours, _ := r.of("tulle")
	for _, c := range r.cells {
		if c.err != nil {
			fmt.Fprintf(t, "%s\terror\t\t\t\t\t\t\t\t\n", c.peer)
			continue
		}
		f := c.figures
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", c.peer,
			figure(f, rate), figure(f, p50), figure(f, p99), figure(f, p999),
			figure(f, cpuCaller), figure(f, cpuCallee), figure(f, rss),
			ratio(ours.figures[rate], f[rate]))
	}
}

func printWeights(t io.Writer, r result) {
	ours, _ := r.of("tulle")
	fmt.Fprintf(t, "\t%s\ttulle is\t\n", r.unit)
	for _, c := range r.cells {
		if c.err != nil {
			fmt.Fprintf(t, "%s\terror\t\t\n", c.peer)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t\n", c.peer, figure(c.figures, value),
			ratio(ours.figures[value], c.figures[value]))
	}
}

func printErrors(w io.Writer, r result) {
	for _, c := range r.cells {
		if c.err != nil {
			fmt.Fprintf(w, "  %s: %v\n", c.peer, c.err)
		}
	}
}

// figure has three digits that count, or is empty.
func figure(f figures, name string) string {
	v, ok := f[name]
	switch {
	case !ok:
		return ""
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func ratio(ours, theirs float64) string {
	if ours == 0 || theirs == 0 {
		return ""
	}
	return fmt.Sprintf("%.2fx", ours/theirs)
}

// judge prints every bar's verdict. 3: a Must is missed; 1: something could not be measured.
func (b *bench) judge(results []result) (code int) {
	fmt.Println("\nBars")
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "row\tfigure\tmeasured\tmust\tgoal\t\t")
	for _, v := range verdicts(b.bars, results) {
		fmt.Fprintln(t, v.row+"\t"+strings.Join(v.columns(), "\t"))
		if v.missed {
			code = 3
		}
	}
	t.Flush()
	for _, line := range b.seen {
		fmt.Println("between:", line)
	}
	if code == 0 && slices.ContainsFunc(results, broken) {
		code = 1
	}
	return code
}

func verdicts(bars []bar, results []result) (all []verdict) {
	for _, bar := range bars {
		i := slices.IndexFunc(results, func(r result) bool { return r.name == bar.row })
		if i >= 0 {
			all = append(all, bar.hold(results[i]))
		}
	}
	return all
}

func broken(r result) bool {
	return slices.ContainsFunc(r.cells, func(c cell) bool { return c.err != nil })
}

// columns are the figure, what was measured, Must, Goal, the word, and whose figure was beaten or
// not.
func (v verdict) columns() []string {
	op := map[bool]string{true: "≥", false: "≤"}[v.more()]
	unit, whose, got := "", "", ""
	if len(v.against) > 0 {
		unit = "x"
	}
	if v.who != "" {
		whose = fmt.Sprintf("%s %.4g, tulle %.4g", v.who, v.theirs, v.ours)
	}
	if v.unjudged != "" {
		whose = v.unjudged
	} else {
		got = fmt.Sprintf("%.3g%s", v.got, unit)
	}
	return []string{v.name, got, fmt.Sprintf("%s %g%s", op, v.must, unit),
		fmt.Sprintf("%g%s", v.goal, unit), v.word(), whose}
}

func (v verdict) word() string {
	switch {
	case v.missed:
		return "MISSED"
	case v.unjudged != "":
		return "not judged"
	case (v.more() && v.got >= v.goal) || (!v.more() && v.got <= v.goal):
		return "goal"
	}
	return "ok"
}
