package main

import (
	"fmt"
	"math"
	"slices"
)

// bar is what the proxy must reach in a row, alone or beside others, and what it would like to.
type bar struct {
	row        string
	figure     string
	against    []string // the best of these is what counts; none: the figure itself
	added      bool     // what is compared is what each adds to going direct
	must, goal float64  // of ours divided by theirs, or of ours
}

// more says for which figures more is better.
func (b bar) more() bool { return b.figure == rate }

var (
	anyHAProxy  = []string{"haproxy", "haproxy-h1"}
	anyPeer     = []string{"haproxy", "haproxy-h1", "nginx", "envoy"}
	onlyEnvoy   = []string{"envoy"}
	onlyReverse = []string{"reverseproxy"}
	onlyBare    = []string{"bare"}
)

// bars are the project's promises. One more is held by test/allocations: allocations per request.
func bars() []bar {
	return slices.Concat(fastBars(), bulkBars(), smallBars())
}

// quickBars are for a peer that only -quick has.
func quickBars() []bar {
	return []bar{
		{row: "http2-two", figure: rate, against: onlyReverse, must: 3, goal: 3},
		{row: "http1-two", figure: rate, against: onlyReverse, must: 3, goal: 3},
	}
}

func fastBars() []bar {
	return []bar{
		{row: "http2-two", figure: rate, against: anyHAProxy, must: 1.2, goal: 1.5},
		{row: "http2-two", figure: rate, against: onlyEnvoy, must: 3, goal: 4},
		{row: "http1-two", figure: rate, against: anyHAProxy, must: 0.85, goal: 1.1},
		{row: "http1-two", figure: rate, against: onlyEnvoy, must: 2.2, goal: 3},
		{row: "http1-two", figure: p99, against: anyHAProxy, must: 1, goal: 1},
		{row: "http1-two", figure: p99, against: onlyEnvoy, must: 1, goal: 1},
		{row: "http2-one", figure: rate, against: anyPeer, must: 1.1, goal: 1.5},
		{row: "http1-one", figure: rate, against: anyPeer, must: 0.8, goal: 1},
		{row: "http2-rate", figure: p99, added: true, against: anyHAProxy, must: 1, goal: 0.5},
		{row: "http1-rate", figure: p99, added: true, against: anyHAProxy, must: 1, goal: 0.5},
		{row: "policies-two", figure: rate, against: onlyBare, must: 0.9, goal: 0.95},
		{row: "telemetry-two", figure: rate, against: onlyBare, must: 0.97, goal: 0.99},
		{row: "tap-two", figure: cpuCaller, against: onlyBare, must: 1.05, goal: 1.02},
		{row: "tap-two", figure: cpuCallee, against: onlyBare, must: 1.05, goal: 1.02},
		// Two runs of the same differ by as much.
		{row: "tap-two", figure: p99, against: onlyBare, must: 1.1, goal: 1.03},
		{row: "http2-two", figure: cpuCaller, against: anyHAProxy, must: 1, goal: 0.7},
		{row: "http2-two", figure: cpuCallee, against: anyHAProxy, must: 1, goal: 0.7},
	}
}

func bulkBars() (all []bar) {
	for _, row := range []string{
		"http1-down-two", "http2-down-two", "http1-up-two", "http2-up-two", "tcp-two",
	} {
		all = append(all, bar{row: row, figure: rate, against: anyPeer, must: 0.9, goal: 1})
	}
	return all
}

func smallBars() []bar {
	return []bar{
		{row: "idle", figure: value, must: 12, goal: 10},
		{row: "http2-two", figure: rss, must: 28, goal: 20},
		{row: "conn-plain", figure: value, must: 8, goal: 4},
		{row: "conn-mtls", figure: value, must: 24, goal: 12},
		{row: "conn-mtls-used", figure: value, must: 48, goal: 24},
	}
}

// verdict is a bar held against a run.
type verdict struct {
	bar
	title, name  string  // of the row and of the figure, for people
	ours, theirs float64 // theirs is 0 for a bar of one's own
	who          string  // whose theirs is
	got          float64 // what must and goal are of
	missed       bool
	unjudged     string // why there is no verdict
}

func (b bar) hold(r result) verdict {
	v := verdict{bar: b, title: r.title, name: b.name(r.row)}
	ours, ok := r.of("tulle")
	switch {
	case !ok:
		v.unjudged = "tulle was left out"
		return v
	case ours.err != nil:
		v.missed, v.unjudged = true, ours.err.Error()
		return v
	}
	v.ours = b.of(r, ours)
	v.got = v.ours
	if len(b.against) > 0 {
		if v.who, v.theirs = b.best(r); v.who == "" {
			v.unjudged = fmt.Sprintf("no figures of %v", b.against)
			return v
		}
		v.got = b.ratio(r, ours, v.who)
	}
	v.missed = (b.more() && v.got < b.must) || (!b.more() && v.got > b.must)
	return v
}

// name is the figure's, with its unit.
func (b bar) name(r row) string {
	switch {
	case b.figure == rate:
		return r.unit + "/s"
	case b.figure == value:
		return r.unit
	case b.added:
		return b.figure + " added, ms"
	case b.figure == cpuCaller || b.figure == cpuCallee:
		return b.figure + ", µs"
	case b.figure == rss:
		return b.figure + ", MB"
	}
	return b.figure + ", ms"
}

// least is what something adds at least, in ms: a measurement cannot tell less from nothing.
const least = 0.01

// of is a peer's figure, for some bars without what the way costs that has no proxy on it.
func (b bar) of(r result, c cell) float64 {
	f := c.figures[b.figure]
	if b.added {
		if d, ok := r.of("direct"); ok && d.err == nil {
			f = max(least, f-d.figures[b.figure])
		}
	}
	return f
}

// ratio is ours divided by somebody's: the median of the rounds' ratios, for what slows the machine
// down for a minute slows both. What is of the rounds together is divided as it is.
func (b bar) ratio(r result, ours cell, who string) float64 {
	theirs, _ := r.of(who)
	if b.added || len(ours.rounds) == 0 || len(ours.rounds) != len(theirs.rounds) {
		return b.of(r, ours) / b.of(r, theirs)
	}
	var all []float64
	for i := range ours.rounds {
		all = append(all, ours.rounds[i][b.figure]/theirs.rounds[i][b.figure])
	}
	return median(all)
}

// best is who has the best figure of those to be beaten.
func (b bar) best(r result) (who string, figure float64) {
	figure = math.Inf(1)
	if b.more() {
		figure = 0
	}
	for _, c := range r.cells {
		if !slices.Contains(b.against, c.peer) || c.err != nil {
			continue
		}
		if f := b.of(r, c); (f > figure) == b.more() {
			who, figure = c.peer, f
		}
	}
	return who, figure
}

// headline is the figure of a row that says most: for the plot, which puts it beside the best
// peer's.
func (r row) headline() bar {
	switch {
	case r.fresh:
		return bar{row: r.name, figure: value, against: anyPeer}
	case r.fixed:
		return bar{row: r.name, figure: p99, added: true, against: anyPeer}
	}
	return bar{row: r.name, figure: rate, against: anyPeer}
}
