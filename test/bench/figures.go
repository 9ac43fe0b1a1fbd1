package main

import "slices"

// figures are what one round came to.
type figures map[string]float64

// The names of figures.
const (
	rate        = "rate" // of the row's unit, a second
	done        = "done" // of the row's unit, in all
	p50         = "p50"  // ms
	p99         = "p99"
	p999        = "p99.9"
	cpuCaller   = "CPU caller" // µs per unit
	cpuCallee   = "CPU callee"
	callsCaller = "calls caller" // system calls that read or write, per unit; of our proxy only
	callsCallee = "calls callee"
	rss         = "RSS" // MB of the larger process
	value       = "value"
)

// medians takes the median of each figure, over the rounds that have it.
func medians(rounds []figures) figures {
	byName := map[string][]float64{}
	for _, f := range rounds {
		for name, v := range f {
			byName[name] = append(byName[name], v)
		}
	}
	m := figures{}
	for name, all := range byName {
		m[name] = median(all)
	}
	return m
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}
