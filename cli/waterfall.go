package cli

import (
	"fmt"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/viz"
)

// waterfall draws a trace: a line for each span, below its parent, with a bar of when it was under
// way.
type waterfall struct {
	trace *viz.Trace
	marks *marks
	width int // of a line
	wide  bool
	paint func(color, text string) string
}

// marks are the signs that it is drawn with.
type marks struct{ branch, last, through, bar, wait, bad string }

var (
	lineMarks  = marks{branch: "├ ", last: "└ ", through: "│ ", bar: "█", wait: "·", bad: "✗"}
	asciiMarks = marks{branch: "|-", last: "`-", through: "| ", bar: "=", wait: ".", bad: "!"}
)

const (
	defaultColumns = 120
	leastBar       = 16
	failedColor    = "\x1b[31m"
)

// columns is how wide a line may be.
func (a *app) columns() int {
	f, ok := a.Out.(*os.File)
	if !ok {
		return defaultColumns
	}
	n, _, err := term.GetSize(int(f.Fd()))
	if err != nil || n <= 0 {
		return defaultColumns
	}
	return n
}

// spanLine is a span's, without its bar.
type spanLine struct {
	*viz.Span
	tree, result string
}

func (d *waterfall) draw() string {
	t := d.trace
	var b strings.Builder
	fmt.Fprintf(&b, "trace %s  %s  %s  %s, %d spans", t.TraceID,
		t.Start.Local().Format("2006-01-02 15:04:05.000"), t.Root, tookMs(t.DurationMs),
		len(t.Tree))
	if t.Failed {
		b.WriteString(", " + d.paint(failedColor, strings.TrimSpace("failed "+t.Reason)))
	}
	b.WriteString("\n\n")
	lines, names, results := d.lines()
	room := max(d.width-names-results-14, leastBar)
	for i := range lines {
		l := &lines[i]
		result := pad(l.result, results)
		if l.Status == "error" {
			result = d.paint(failedColor, result)
		}
		line := fmt.Sprintf("%s  %s  %8s  %s", pad(l.tree, names), result,
			tookMs(float64(l.DurationUs)/1000), d.bar(l.Span, room))
		b.WriteString(strings.TrimRight(line, " ") + "\n")
		d.more(&b, l.Span)
	}
	for _, note := range t.Notes {
		fmt.Fprintf(&b, "\nnote: %s", note)
	}
	for _, id := range t.Copies {
		fmt.Fprintf(&b, "\nmirrored: meshctl viz traces %s", id)
	}
	if len(t.Notes)+len(t.Copies) > 0 {
		b.WriteString("\n")
	}
	return b.String()
}

// lines are the spans', and how wide the two columns are.
func (d *waterfall) lines() (out []spanLine, names, results int) {
	spans := d.trace.Tree
	for i := range spans {
		s := &spans[i]
		l := spanLine{Span: s, result: d.result(s),
			tree: d.branches(i) + s.Workload + " " + s.Kind + " " + s.Name}
		out = append(out, l)
		names = max(names, utf8.RuneCountInString(l.tree))
		results = max(results, utf8.RuneCountInString(l.result))
	}
	return out, names, results
}

// branches lead from a span's ancestors to it.
func (d *waterfall) branches(at int) string {
	spans := d.trace.Tree
	depth := spans[at].Depth
	if depth == 0 {
		return ""
	}
	parts := make([]string, depth)
	for level := 1; level <= depth; level++ {
		more := follows(spans[at+1:], level)
		switch {
		case level == depth && more:
			parts[level-1] = d.marks.branch
		case level == depth:
			parts[level-1] = d.marks.last
		case more:
			parts[level-1] = d.marks.through
		default:
			parts[level-1] = strings.Repeat(" ", utf8.RuneCountInString(d.marks.through))
		}
	}
	return strings.Join(parts, "")
}

// follows reports whether another span of a depth comes before one that is less deep.
func follows(spans []viz.Span, depth int) bool {
	for i := range spans {
		if spans[i].Depth <= depth {
			return spans[i].Depth == depth
		}
	}
	return false
}

// result is what came of a span: its status, why, and which try it was.
func (d *waterfall) result(s *viz.Span) string {
	var parts []string
	if s.Status == "error" {
		parts = append(parts, d.marks.bad)
	}
	for _, name := range []string{"rpc.response.status_code", "http.response.status_code"} {
		if v := s.Attributes[name]; v != nil {
			parts = append(parts, fmt.Sprint(v))
			break
		}
	}
	if s.Reason != "" {
		parts = append(parts, s.Reason)
	}
	if n := s.Attributes["http.request.resend_count"]; n != nil {
		word := "retry"
		if s.Attributes[outcome.NameHedge] != nil {
			word = "hedge"
		}
		parts = append(parts, fmt.Sprint(word, " ", n))
	}
	if s.Attributes[outcome.NameLost] != nil {
		parts = append(parts, "slower")
	}
	return strings.Join(parts, " ")
}

// bar shows when in the trace's time a span was under way.
func (d *waterfall) bar(s *viz.Span, room int) string {
	whole := max(int64(d.trace.DurationMs*1000), 1)
	from := s.StartUs - d.trace.Start.UnixMicro()
	begin := int(min(max(from, 0)*int64(room)/whole, int64(room-1)))
	end := int(min(max(from+s.DurationUs, 0)*int64(room)/whole, int64(room)))
	end = max(end, begin+1)
	bar := strings.Repeat(d.marks.bar, end-begin)
	if s.Status == "error" {
		bar = d.paint(failedColor, bar)
	}
	return strings.Repeat(d.marks.wait, begin) + bar + strings.Repeat(d.marks.wait, room-end)
}

// more is what a wide drawing says of a span below its line.
func (d *waterfall) more(b *strings.Builder, s *viz.Span) {
	if !d.wide {
		return
	}
	fmt.Fprintf(b, "    %s  span %s", dash(s.Pod), s.SpanID)
	if s.ShiftedUs != 0 {
		fmt.Fprintf(b, "  clock corrected by %s", time.Duration(s.ShiftedUs)*time.Microsecond)
	}
	for _, name := range []string{"url.full", "url.path", "network.peer.address",
		outcome.NameError, outcome.NameRoute} {
		if v := s.Attributes[name]; v != nil {
			fmt.Fprintf(b, "\n    %s: %v", name, v)
		}
	}
	for _, e := range s.Events {
		fmt.Fprintf(b, "\n    %s after %s", e.Name,
			tookMs(float64(e.StartUs-s.StartUs)/1000))
	}
	b.WriteString("\n")
}

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(width-utf8.RuneCountInString(s), 0))
}
