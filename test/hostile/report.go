package main

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// printing is held by who prints what belongs together.
var printing sync.Mutex

const columns = "%-44s  %-13s  %-26s  %7s  %9s  %9s  %9s  %9s  %s\n"

// heading is printed first, and then a line for each row as soon as it is done.
func (s *stage) heading() {
	fmt.Printf("at rest: %s; a well-behaved client's p99: %v\n\n", s.resting(),
		s.base.Round(10*time.Microsecond))
	fmt.Printf(columns, "attack", "at", "answer", "within", "growth 1", "100", "p99", "direct", "")
}

func (r *row) print() {
	mark := "ok"
	if len(r.failures) > 0 {
		mark = "FAILED"
	}
	fmt.Printf(columns, r.attack.name, r.position.name, r.want, r.slowest.Round(time.Millisecond),
		mib(r.single), mib(r.crowd), r.seen.p99.Round(10*time.Microsecond),
		r.seen.past.Round(10*time.Microsecond), mark)
	for _, f := range r.failures {
		fmt.Println("   ", f)
	}
}

func findingsOf(rows []*row) (findings []string) {
	for _, r := range rows {
		for _, f := range r.failures {
			findings = append(findings,
				fmt.Sprintf("%s, %s: %s", r.attack.name, r.position.name, f))
		}
	}
	return findings
}

const siegeColumns = "%-22s  %-24s  %9s  %10s  %10s  %s\n"

func (s *siege) print() {
	mark := "ok"
	if len(s.failures) > 0 {
		mark = "FAILED"
	}
	fmt.Printf(siegeColumns, s.assault.name, s.listener.name, fmt.Sprint(s.answered),
		s.worst.Round(time.Millisecond), mib(s.peak), mark)
	for _, f := range s.failures {
		fmt.Println("   ", f)
	}
}

const cellColumns = "%-44s  %-16s  %-16s  %-16s  %-16s  %s\n"

// print writes a line for each row: what came of it at the doors that are not refused for being in
// plaintext. It returns what failed.
func (t *table) print(rows []forger) (findings []string) {
	fmt.Printf("\n"+cellColumns, "detection", "declared", "undeclared", "h2c, declared",
		"h2c, undeclared", "")
	for i := range rows {
		var seen [4][]string
		var failures []string
		for _, c := range t.cells {
			if c.forger != &rows[i] {
				continue
			}
			if at := seen[c.column()]; !(c.strict && !c.meshed) && !slices.Contains(at, c.outcome) {
				seen[c.column()] = append(at, c.outcome)
			}
			if c.failure != "" {
				failures = append(failures,
					fmt.Sprintf("detection: %s, %v: %s", c.forger.name, c.door, c.failure))
			}
		}
		mark := "ok"
		if len(failures) > 0 {
			mark = "FAILED"
		}
		join := func(n int) string { return strings.Join(seen[n], "|") }
		fmt.Printf(cellColumns, rows[i].name, join(0), join(1), join(2), join(3), mark)
		findings = append(findings, failures...)
	}
	return findings
}

func (c *cell) column() (n int) {
	if !c.declared {
		n++
	}
	if c.http2 {
		n += 2
	}
	return n
}

func mib(n int) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
