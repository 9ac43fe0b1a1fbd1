package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// The bars.
const (
	// fasterThanRobin is how many times EWMA's p99 must be in round robin's.
	fasterThanRobin = 2
	// mostShares is what one endpoint may have of a window's requests, in fair shares. A choice of
	// two leaves two, and chance some more.
	mostShares = 3
)

func main() {
	seconds := flag.Int("seconds", 60, "how long requests arrive, in simulated time")
	flag.Parse()
	length := time.Duration(*seconds) * time.Second
	missed, err := compare(os.Stdout, length)
	if err == nil {
		var more []string
		more, err = compareZones(os.Stdout, length)
		missed = append(missed, more...)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "balance:", err)
		os.Exit(1)
	}
	for _, m := range missed {
		fmt.Fprintln(os.Stderr, "MISSED:", m)
	}
	if len(missed) > 0 {
		os.Exit(3)
	}
}

// compare prints a table of all balancers, and returns which bars were missed.
func compare(w io.Writer, length time.Duration) (missed []string, err error) {
	fmt.Fprintln(w, "| balancer | p50 ms | p99 ms | failed % | at slow % | at failing % | "+
		"at cold % | most at one, fair shares |")
	fmt.Fprintln(w, "|---|---|---|---|---|---|---|---|")
	var all []result
	for _, b := range balancers() {
		r, err := simulate(b, length)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", b.name, err)
		}
		fmt.Fprintf(w, "| %s | %s | %s | %.2f | %.1f | %.1f | %.1f | %.2f |\n", r.name,
			ms(r.p50), ms(r.p99), r.failed, r.slow, r.fail, r.cold, r.peak)
		all = append(all, r)
	}
	return judge(all), nil
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }

func judge(all []result) (missed []string) {
	named := func(name string) result {
		return all[slices.IndexFunc(all, func(r result) bool { return r.name == name })]
	}
	ewma, robin := named("EWMA"), named("round robin")
	if fasterThanRobin*ewma.p99 > robin.p99 {
		missed = append(missed, fmt.Sprintf("EWMA's p99 is %v, more than half of round robin's, %v",
			ewma.p99, robin.p99))
	}
	for _, r := range all {
		if r.peak > mostShares {
			missed = append(missed, fmt.Sprintf(
				"%s gives one endpoint %.2f fair shares of %v", r.name, r.peak, window))
		}
	}
	return missed
}
