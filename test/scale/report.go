package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"text/tabwriter"
)

// measured keeps a row's figure, and says it at once: a run takes a while.
func (r *run) measured(row string, figure float64, note string) {
	i := slices.IndexFunc(bars(), func(b bar) bool { return b.name == row })
	res := result{bar: bars()[i], measured: figure, note: note}
	r.results = append(r.results, res)
	fmt.Fprintf(os.Stderr, "%s: %s (%s)\n", row, res.figure(), note)
}

var errNotReached = errors.New("it was not measured")

// unmeasured turns those of a part's rows that have no figure into errors.
func (r *run) unmeasured(rows []string, err error) {
	for _, b := range bars() {
		if !slices.Contains(rows, b.name) || slices.ContainsFunc(r.results,
			func(res result) bool { return res.name == b.name }) {
			continue
		}
		if err == nil {
			err = errNotReached
		}
		r.results = append(r.results, result{bar: b, err: err})
		fmt.Fprintf(os.Stderr, "%s: %v\n", b.name, err)
	}
}

// inOrder are the results as bars.go lists them.
func (r *run) inOrder() (all []result) {
	for _, b := range bars() {
		for _, res := range r.results {
			if res.name == b.name {
				all = append(all, res)
			}
		}
	}
	return all
}

func (r *run) print(w io.Writer) {
	fmt.Fprintf(w, "%d proxies, %d services of %d pods\n", r.proxies, r.shape.Services,
		r.shape.Pods)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "row\tmeasured\tmust\tgoal\t\t")
	for _, res := range r.inOrder() {
		fmt.Fprintf(t, "%s\t%s\t≤ %g\t%g\t%s\t%s\n", res.title, res.figure(), res.must, res.goal,
			res.word(), res.remark())
	}
	t.Flush()
}

// figure has three digits that count, and the unit.
func (r result) figure() string {
	if r.err != nil {
		return ""
	}
	if r.measured >= 100 {
		return fmt.Sprintf("%.0f %s", r.measured, r.unit)
	}
	return fmt.Sprintf("%.3g %s", r.measured, r.unit)
}

func (r result) remark() string {
	if r.err != nil {
		return r.err.Error()
	}
	return r.note
}

// code is the exit status. 3: a Must is missed; 1: something could not be measured.
func (r *run) code() (code int) {
	for _, res := range r.results {
		switch {
		case res.missed():
			return 3
		case res.err != nil:
			code = 1
		}
	}
	return code
}
