package top

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/tulle-mesh/tulle/viz"
)

// column is one column of the page.
type column struct {
	head  string
	width int // 0: a share of what the others leave
	share int // of the flexible ones
	right bool
	// least is the page's width from which on it is shown.
	least int
	// some says whether a row has anything to show; where none has, the column is not there. nil:
	// it always is.
	some func(*viz.TopRow) bool
	cell func(*glyphs, *viz.TopRow) string
	// short is for a cell that does not fit.
	short func(text string, width int, more string) string
	tone  func(*viz.TopRow) tone
}

var columns = []column{
	{head: "FROM", share: 3, short: middle, cell: func(_ *glyphs, r *viz.TopRow) string {
		return r.From
	}},
	{head: "TO", share: 3, short: middle, cell: func(_ *glyphs, r *viz.TopRow) string {
		return r.To
	}},
	{head: "ROUTE", share: 4, least: 50, cell: func(_ *glyphs, r *viz.TopRow) string {
		return r.Route
	}},
	{head: "RPS", width: 6, right: true, cell: func(_ *glyphs, r *viz.TopRow) string {
		return rate(r.RPS)
	}},
	{head: "TREND", width: 10, least: 100, cell: func(g *glyphs, r *viz.TopRow) string {
		return g.spark(r.Trend)
	}},
	{head: "OK%", width: 6, right: true, cell: okCell, tone: okTone},
	{head: "P50", width: 5, right: true, least: 64, cell: func(_ *glyphs, r *viz.TopRow) string {
		return millis(r.P50Ms)
	}},
	{head: "P95", width: 5, right: true, least: 58, cell: func(_ *glyphs, r *viz.TopRow) string {
		return millis(r.P95Ms)
	}},
	{head: "P99", width: 5, right: true, cell: func(_ *glyphs, r *viz.TopRow) string {
		return millis(r.P99Ms)
	}},
	{head: "RETRY", width: 6, right: true, least: 70, cell: retryCell},
	{head: "T/O", width: 4, right: true, least: 92, cell: func(_ *glyphs, r *viz.TopRow) string {
		return fmt.Sprint(r.WindowTimeouts)
	}},
	{head: "FAULT", width: 5, right: true, least: 66, cell: func(_ *glyphs, r *viz.TopRow) string {
		return amount(r.WindowFaulted)
	}, some: func(r *viz.TopRow) bool { return r.WindowFaulted > 0 }},
	{head: "LIMIT", width: 5, right: true, least: 66, cell: func(_ *glyphs, r *viz.TopRow) string {
		return amount(r.WindowLimited)
	}, some: func(r *viz.TopRow) bool { return r.WindowLimited > 0 }},
	{head: "EJECT", width: 5, right: true, cell: ejectedCell, tone: ejectedTone,
		some: func(r *viz.TopRow) bool { return r.Ejected > 0 }},
	{head: "MTLS", width: 5, cell: securityCell, tone: securityTone},
}

// identities take the place of routes when the user asks for them.
var identities = []column{
	{head: "CLIENT ID", share: 4, short: shortID, cell: func(_ *glyphs, r *viz.TopRow) string {
		return dash(r.ClientID)
	}},
	{head: "SERVER ID", share: 4, short: shortID, cell: func(_ *glyphs, r *viz.TopRow) string {
		return dash(r.ServerID)
	}},
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// shortID leaves out what every ID of a mesh shares: spiffe://cluster.local/ns/shop/sa/web is
// shop/web.
func shortID(id string, _ int, _ string) string {
	_, path, found := strings.Cut(id, "/ns/")
	if !found {
		return id
	}
	return strings.Replace(path, "/sa/", "/", 1)
}

// middle cuts a name in its middle: pods of one workload differ at the end.
func middle(name string, width int, more string) string {
	runes := []rune(name)
	tail := min(width/2, len(runes)-1)
	return clip(string(runes[:len(runes)-tail]), width-tail, more) + string(runes[len(runes)-tail:])
}

// low is the success below which a row is marked, by shape and by colour.
const (
	low     = 0.99
	veryLow = 0.95
)

func okCell(g *glyphs, r *viz.TopRow) string {
	if r.SuccessRate == nil {
		return "-"
	}
	text := fmt.Sprintf("%.1f", *r.SuccessRate*100)
	if *r.SuccessRate == 1 {
		text = "100"
	}
	if *r.SuccessRate < low {
		return g.down + text
	}
	return text
}

func okTone(r *viz.TopRow) tone {
	switch {
	case r.SuccessRate == nil || *r.SuccessRate >= low:
		return plain
	case *r.SuccessRate >= veryLow:
		return warn
	}
	return bad
}

func retryCell(_ *glyphs, r *viz.TopRow) string {
	if r.RetryRate == nil || *r.RetryRate == 0 {
		return "0"
	}
	return fmt.Sprintf("%.1f%%", *r.RetryRate*100)
}

// amount is a number in a column of five.
func amount(n uint64) string {
	if n == 0 {
		return "-"
	}
	return strings.TrimSuffix(rate(float64(n)), ".0")
}

// ejectedCell marks a row of which an endpoint is kept from requests.
func ejectedCell(g *glyphs, r *viz.TopRow) string {
	if r.Ejected == 0 {
		return "-"
	}
	return fmt.Sprintf("%s%d/%d", g.no, r.Ejected, r.Endpoints)
}

func ejectedTone(r *viz.TopRow) tone {
	if r.Ejected == 0 {
		return plain
	}
	return bad
}

// securityWords are short enough for a column.
var securityWords = map[string]string{
	"plaintext-unmeshed": "plain", "plaintext-skipped": "skip", "tls-passthrough": "tls",
	"loopback": "loop", "mixed": "mixed", "none": "-",
}

func securityCell(g *glyphs, r *viz.TopRow) string {
	if r.Encrypted {
		return g.yes
	}
	if word := securityWords[r.Security]; word != "" {
		return word
	}
	return "?"
}

func securityTone(r *viz.TopRow) tone {
	switch {
	case r.Encrypted:
		return good
	case r.Security == "none" || r.Security == "loopback":
		return plain
	}
	return warn
}

func rate(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.1fM", v/1e6)
	case v >= 10_000:
		return fmt.Sprintf("%.0fk", v/1000)
	case v >= 1000:
		return fmt.Sprintf("%.1fk", v/1000)
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

// millis is without its unit: the summary says it once.
func millis(ms *float64) string {
	switch {
	case ms == nil:
		return "-"
	case *ms < 10:
		return fmt.Sprintf("%.1f", *ms)
	case *ms < 10_000:
		return fmt.Sprintf("%.0f", *ms)
	}
	return fmt.Sprintf("%.0fs", *ms/1000)
}

// ordering is how rows are sorted.
type ordering struct {
	by       int // of orders
	reversed bool
}

// orders are what o goes through. Each begins with what is worth looking at: most, slowest, worst.
var orders = []struct {
	head    string
	compare func(a, b *viz.TopRow) int
}{
	{"RPS", func(a, b *viz.TopRow) int { return cmp.Compare(b.RPS, a.RPS) }},
	{"OK%", func(a, b *viz.TopRow) int { return absentLast(a.SuccessRate, b.SuccessRate, 1) }},
	{"P50", func(a, b *viz.TopRow) int { return absentLast(a.P50Ms, b.P50Ms, -1) }},
	{"P95", func(a, b *viz.TopRow) int { return absentLast(a.P95Ms, b.P95Ms, -1) }},
	{"P99", func(a, b *viz.TopRow) int { return absentLast(a.P99Ms, b.P99Ms, -1) }},
	{"RETRY", func(a, b *viz.TopRow) int { return absentLast(a.RetryRate, b.RetryRate, -1) }},
	{"T/O", func(a, b *viz.TopRow) int { return cmp.Compare(b.WindowTimeouts, a.WindowTimeouts) }},
	{"FAULT", func(a, b *viz.TopRow) int { return cmp.Compare(b.WindowFaulted, a.WindowFaulted) }},
	{"LIMIT", func(a, b *viz.TopRow) int { return cmp.Compare(b.WindowLimited, a.WindowLimited) }},
	{"EJECT", func(a, b *viz.TopRow) int { return cmp.Compare(b.Ejected, a.Ejected) }},
	{"FROM", func(a, b *viz.TopRow) int { return cmp.Compare(a.From, b.From) }},
	{"TO", func(a, b *viz.TopRow) int { return cmp.Compare(a.To, b.To) }},
	{"ROUTE", func(a, b *viz.TopRow) int { return cmp.Compare(a.Route, b.Route) }},
}

// absentLast compares two figures, ascending with sign 1; a row without one has nothing to be
// looked at.
func absentLast(a, b *float64, sign int) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return sign * cmp.Compare(*a, *b)
}

func (o ordering) head() string { return orders[o.by].head }

func (o ordering) next() ordering { return ordering{by: (o.by + 1) % len(orders)} }

func (o ordering) compare(a, b viz.TopRow) int {
	c := orders[o.by].compare(&a, &b)
	if o.reversed {
		c = -c
	}
	return cmp.Or(c, cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To),
		cmp.Compare(a.Route, b.Route))
}
