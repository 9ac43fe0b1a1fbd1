package main

// bar is what a row must reach, and what it would like to. Less is better in all of them.
type bar struct {
	name       string // as the row is known by
	title      string // for people
	unit       string
	must, goal float64
}

// The names of rows.
const (
	rowIdentity     = "memory-identity"
	rowViz          = "memory-viz"
	rowVizEdges     = "memory-viz-edges"
	rowVizQuery     = "viz-query"
	rowVizCPU       = "viz-cpu"
	rowVizPage      = "viz-page"
	rowDestination  = "memory-destination"
	rowWatchedMany  = "change-1000"
	rowWatchedAll   = "change-10000"
	rowCPU          = "cpu"
	rowRestart      = "restart"
	rowResume       = "restart-resume"
	rowLargeBytes   = "large-bytes"
	rowLargeTime    = "large-time"
	rowGrowth       = "growth"
	rowInject       = "inject"
	rowInjectLinear = "inject-linear"
)

// bars are the project's promises at 10,000 proxies, with one processor for each server.
func bars() []bar {
	return []bar{
		{rowDestination, "Resident memory of destination, with 10,000 proxies", "MB", 640, 512},
		{rowIdentity, "Resident memory of identity, with 10,000 proxies", "MB", 256, 128},
		{rowViz, "Resident memory of viz, with 10,000 proxies", "MB", 640, 512},
		{rowVizEdges, "Resident memory of viz, with 10,000 proxies and 50,000 edges", "MB",
			512, 448},
		{rowVizQuery, "The slowest question then, of all namespaces: median", "ms", 50, 25},
		{rowVizCPU, "Viz's CPU then, while every edge is busy", "cores", 0.5, 0.25},
		{rowVizPage, "Series on viz's page for Prometheus then", "series", 40_000, 40_000},
		{rowWatchedMany, "An endpoint that 1,000 proxies watch changes: p99 until each has it",
			"ms", 100, 50},
		{rowWatchedAll, "An endpoint that all 10,000 watch changes: p99 until each has it",
			"ms", 1000, 500},
		{rowCPU, "Destination's CPU at 100 changes a second, each watched by few of 10,000",
			"cores", 0.2, 0.05},
		{rowRestart, "All 10,000 are back after a restart of destination", "s", 30, 10},
		{rowResume, "The largest Resume message then", "KiB", 64, 64},
		{rowLargeBytes, "One of 10,000 endpoints of a service changes: bytes to a proxy",
			"bytes", 400, 200},
		{rowLargeTime, "The same: time in the proxy until it is applied", "ms", 1, 0.2},
		{rowGrowth,
			"Growth of what destination holds over 1,000 rolling restarts, after the first hundred",
			"%", 5, 0},
		{rowInject, "meshctl inject of 4 MB of YAML", "s", 2, 0.5},
		{rowInjectLinear, "The same, beside 1 MB of it: times as long", "x", 5, 4},
	}
}

// result is a row that has been measured, or why it could not be.
type result struct {
	bar
	measured float64
	note     string // what else was seen
	err      error
}

func (r result) missed() bool { return r.err == nil && r.measured > r.must }

func (r result) word() string {
	switch {
	case r.err != nil:
		return "error"
	case r.missed():
		return "MISSED"
	case r.measured <= r.goal:
		return "goal"
	}
	return "ok"
}
