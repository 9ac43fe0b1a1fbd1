package main

import (
	"fmt"
	"io"
)

// report is the table: a line per case, a sum per part.
type report struct {
	parts    []count
	failures []string
}

type count struct {
	name          string
	passed, total int
}

func (r *report) begin(part string) {
	fmt.Printf("\n== %s\n", part)
	r.parts = append(r.parts, count{name: part})
}

// check notes one case; got says what happened, and why a failure is one.
func (r *report) check(ok bool, name, format string, args ...any) {
	p := &r.parts[len(r.parts)-1]
	p.total++
	line := fmt.Sprintf("%-44s %s", name, fmt.Sprintf(format, args...))
	if ok {
		p.passed++
		fmt.Println("ok  ", line)
		return
	}
	r.failures = append(r.failures, p.name+": "+line)
	fmt.Println("FAIL", line)
}

func (r *report) summary(w io.Writer) {
	fmt.Fprintln(w)
	for _, p := range r.parts {
		fmt.Fprintf(w, "%-14s %d/%d\n", p.name, p.passed, p.total)
	}
	for _, f := range r.failures {
		fmt.Fprintln(w, "FAIL", f)
	}
}
