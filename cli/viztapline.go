package cli

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tulle-mesh/tulle/viz"
)

// Colours of a line, for people.
const (
	red    = "\x1b[31m"
	yellow = "\x1b[33m"
	dim    = "\x1b[2m"
)

// tapPrinter writes requests, each as one line or as three. Columns grow with what they have held,
// up to maxColumn, so that what follows stays where it is.
type tapPrinter struct {
	*app
	wide, json, events bool
	arrow              string
	shown              uint64
	widths             [2]int
}

// maxColumn is how far a column may grow, characters.
const maxColumn = 48

// print writes one request.
func (p *tapPrinter) print(r *viz.TapRecord) error {
	text := ""
	switch {
	case p.json:
		b, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("print JSON: %w", err)
		}
		text = string(b)
	case p.events:
		text = p.three(r)
	default:
		text = p.line(r)
	}
	if _, err := fmt.Fprintln(p.Out, text); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	p.shown++
	return nil
}

// line is a request for people. What peers have said in it cannot move a cursor, nor end the line.
func (p *tapPrinter) line(r *viz.TapRecord) string {
	cells := []string{p.paint(dim, r.Time.Local().Format("15:04:05.000")),
		p.column(0, p.sides(r)), p.column(1, asked(r)), p.result(r), took(r.Duration)}
	if r.Tries != 1 && r.Transport == "" {
		cells = append(cells, fmt.Sprintf("tries=%d", r.Tries))
	}
	if r.Reason != "" {
		cells = append(cells, p.paint(yellow, shown(r.Reason)))
	}
	cells = append(cells, shown(cmp.Or(r.Security, "-")))
	if p.wide {
		cells = append(cells, more(r)...)
	}
	return strings.Join(cells, "  ")
}

func (p *tapPrinter) sides(r *viz.TapRecord) string {
	return caller(r) + " " + p.arrow + " " + callee(r)
}

// column pads a cell to what its column has held before.
func (p *tapPrinter) column(i int, text string) string {
	n := utf8.RuneCountInString(text)
	p.widths[i] = min(max(p.widths[i], n), maxColumn)
	return text + strings.Repeat(" ", max(p.widths[i]-n, 0))
}

// caller is who asked, by the best name that is known.
func caller(r *viz.TapRecord) string {
	if r.ClientWorkload != "" {
		return shown(r.ClientNamespace + "/" + nameOf(r.ClientWorkload))
	}
	if _, account, ok := strings.Cut(r.ClientID, "/sa/"); ok {
		return shown(r.ClientNamespace + "/" + account)
	}
	return shown(cmp.Or(r.ClientAddress, "?"))
}

// callee is who was asked: who did answer, or else what was called.
func callee(r *viz.TapRecord) string {
	namespace := cmp.Or(r.ServerNamespace, r.Namespace)
	switch {
	case r.ServerWorkload != "":
		return shown(namespace + "/" + nameOf(r.ServerWorkload))
	case r.Service != "":
		return shown(namespace + "/" + r.Service)
	}
	return shown(cmp.Or(r.Destination, r.Host, "?"))
}

func nameOf(workload string) string {
	_, name, _ := strings.Cut(workload, "/")
	return cmp.Or(name, workload)
}

// asked is the method and the path, or what a connection that nobody understands has carried.
func asked(r *viz.TapRecord) string {
	if r.Transport == "" {
		return shown(r.Method + " " + cmp.Or(r.Path, "/"))
	}
	said, answered := uint64(0), uint64(0)
	if r.Said != nil && r.Answered != nil {
		said, answered = *r.Said, *r.Answered
	}
	return fmt.Sprintf("%s %s there, %s back", shown(r.Transport), bytesOf(said), bytesOf(answered))
}

// result is the status, of gRPC where there is one.
func (p *tapPrinter) result(r *viz.TapRecord) string {
	text, color := "-", ""
	if r.Status > 0 {
		text = strconv.FormatUint(uint64(r.Status), 10)
	}
	if r.GRPC != "" {
		text += " " + shown(r.GRPC)
	}
	switch {
	case slices.Contains(r.Flags, "failed"):
		color = red
	case r.Status >= 400:
		color = yellow
	}
	if color == "" {
		return text
	}
	return p.paint(color, text)
}

// more is what a wide line says beside.
func more(r *viz.TapRecord) (cells []string) {
	add := func(name, value string) {
		if value != "" {
			cells = append(cells, name+"="+shown(value))
		}
	}
	add("authority", r.Host)
	switch {
	case r.Inbound != nil:
		add("at-server", took(r.Inbound.Duration))
		if r.Inbound.Reason != r.Reason {
			add("server-reason", r.Inbound.Reason)
		}
	case r.Security == "mtls":
		add("seen", r.Direction)
	}
	if r.FirstByte > 0 {
		add("first-byte", took(r.FirstByte))
	}
	add("route", r.Route)
	add("from-pod", r.ClientPod)
	add("to-pod", r.ServerPod)
	add("endpoint", r.Endpoint)
	add("request-id", r.RequestID)
	add("trace", r.TraceID)
	add("flags", strings.Join(r.Flags, ","))
	add("error", r.Error)
	return cells
}

// three are the lines of a request, of its answer's beginning, and of its end.
func (p *tapPrinter) three(r *viz.TapRecord) string {
	id := "id=" + strconv.FormatUint(p.shown+1, 10)
	at := func(seconds float64) string {
		return r.Time.Add(time.Duration(seconds * float64(time.Second))).Local().
			Format("15:04:05.000")
	}
	out := strings.Join([]string{"req", id, at(0), p.sides(r), asked(r),
		"authority=" + authorityOf(r), shown(cmp.Or(r.Security, "-"))}, " ")
	end := []string{"\nend", id, at(r.Duration)}
	if r.FirstByte > 0 {
		out += strings.Join([]string{"\nrsp", id, at(r.FirstByte), p.result(r), "after",
			took(r.FirstByte)}, " ")
	} else if r.Transport == "" {
		end = append(end, p.result(r))
	}
	end = append(end, "after", took(r.Duration), fmt.Sprintf("tries=%d", r.Tries))
	if r.Received != nil {
		end = append(end, "body="+bytesOf(*r.Received))
	}
	if r.Reason != "" {
		end = append(end, shown(r.Reason))
	}
	return out + strings.Join(end, " ")
}

// authorityOf is what the caller has called, as it said.
func authorityOf(r *viz.TapRecord) string {
	switch {
	case r.Host == "":
		return "-"
	case r.Port == 0:
		return shown(r.Host)
	}
	return shown(net.JoinHostPort(r.Host, strconv.FormatUint(r.Port, 10)))
}

func took(seconds float64) string {
	ms := seconds * 1000
	return millis(&ms)
}

// bytesOf is a number of bytes for people.
func bytesOf(n uint64) string { return strings.TrimSuffix(bytesPerSecond(float64(n)), "/s") }

// shown is text that may be a stranger's, with whatever a terminal would obey made visible.
func shown(s string) string {
	hidden := func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }
	if strings.IndexFunc(s, hidden) < 0 {
		return s
	}
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}

// thousands writes a number with commas.
func thousands(n uint64) string {
	text := strconv.FormatUint(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
