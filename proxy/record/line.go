package record

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
)

// appendLine appends a record as one line of JSON. Names are OpenTelemetry's where it has one. What
// is empty is left out. docs/accesslog.md has the table.
func appendLine(b []byte, r *outcome.Record) []byte {
	l := line{append(b, `{"time":"`...)}
	l.b = append(r.Start.UTC().AppendFormat(l.b, timeFormat), '"')
	l.text("tulle.direction", r.Labels.Direction.String())
	if r.Method == "" {
		l.opaque(r)
	} else {
		l.http(r)
	}
	l.seconds("tulle.duration", r.Latency)
	l.peers(r)
	l.destination(r)
	l.text(outcome.NameReason, r.Reason.String())
	l.text(outcome.NameError, r.Detail)
	l.flags(r)
	return append(l.b, "}\n"...)
}

const timeFormat = "2006-01-02T15:04:05.000000Z07:00"

// line is JSON so far.
type line struct{ b []byte }

func (l *line) http(r *outcome.Record) {
	l.text("http.request.method", r.Method)
	l.text("url.path", r.Path)
	host, port := outcome.SplitPort(r.Authority)
	l.text("server.address", host)
	l.number("server.port", port)
	version := "2"
	if r.HTTP1 {
		version = "1.1"
	}
	l.text("network.protocol.version", version)
	l.number("http.response.status_code", uint64(r.Status))
	if r.GRPCStatus != "" {
		l.text("rpc.response.status_code", outcome.GRPCName(r.GRPCStatus))
	}
	l.size("http.request.body.size", r.RequestBytes)
	l.size("http.response.body.size", r.ResponseBytes)
	if r.FirstByte > 0 {
		l.seconds("tulle.first_byte", r.FirstByte)
	}
	l.size("tulle.tries", uint64(r.Tries))
	if r.Limit > 0 {
		l.seconds("tulle.deadline_left", max(r.Limit-r.Latency, 0))
	}
	l.text("user_agent.original", r.UserAgent)
	l.text("tulle.request_id", r.RequestID)
	if t := r.Trace; t != nil && !t.Held {
		l.text("trace_id", t.Context.Trace.String())
		l.text("span_id", t.Span.String())
	}
}

func (l *line) opaque(r *outcome.Record) {
	l.text("network.transport", "tcp")
	l.size("tulle.request.size", r.RequestBytes)
	l.size("tulle.response.size", r.ResponseBytes)
}

// peers are who calls, and who is called. Outbound the caller is this proxy's own application.
func (l *line) peers(r *outcome.Record) {
	l.text("client.address", hostOf(r.ClientAddress))
	caller, server := r.Labels.PeerID, r.Labels.OwnID
	if r.Labels.Direction == metric.Outbound {
		caller, server = server, caller
	}
	l.text(outcome.NameClientID, caller)
	l.text(outcome.NameServerID, server)
	if w := r.Labels.Peer; r.Labels.Direction == metric.Outbound && w.Name != "" {
		l.text("tulle.server.workload", w.Kind+"/"+w.Name)
		l.text("tulle.server.pod", w.Pod)
	}
	if r.Labels.Security != 0 {
		l.text(outcome.NameSecurity, r.Labels.Security.String())
	}
}

func (l *line) destination(r *outcome.Record) {
	l.text(outcome.NameDestination, r.Labels.Authority)
	l.text(outcome.NameNamespace, r.Labels.Namespace)
	l.text(outcome.NameService, r.Labels.Service)
	l.text(outcome.NameRoute, r.Labels.Route)
	l.text(outcome.NameBackend, r.Labels.Backend)
	l.text(outcome.NameEndpoint, r.Endpoint)
}

func (l *line) flags(r *outcome.Record) {
	begin := len(l.b)
	for _, f := range [...]struct {
		set  bool
		name string
	}{{r.Failed, "failed"}, {r.Tries > 1, "retried"}, {r.Delayed, "delayed"},
		{r.Upgraded, "upgraded"}, {r.Cut, "cut"}} {
		switch {
		case !f.set:
			continue
		case len(l.b) == begin:
			l.name("tulle.flags")
			l.b = append(l.b, '[')
		default:
			l.b = append(l.b, ',')
		}
		l.b = appendString(l.b, f.name)
	}
	if len(l.b) > begin {
		l.b = append(l.b, ']')
	}
}

func (l *line) name(name string) { l.b = append(append(append(l.b, `,"`...), name...), `":`...) }

func (l *line) text(name, value string) {
	if value != "" {
		l.name(name)
		l.b = appendString(l.b, value)
	}
}

// number leaves out zero, and size does not.
func (l *line) number(name string, n uint64) {
	if n != 0 {
		l.size(name, n)
	}
}

func (l *line) size(name string, n uint64) {
	l.name(name)
	l.b = strconv.AppendUint(l.b, n, 10)
}

func (l *line) seconds(name string, d time.Duration) {
	l.name(name)
	l.b = strconv.AppendFloat(l.b, d.Seconds(), 'f', 6, 64)
}

// AppendString appends a string of JSON in which nothing is left that could end its line, or that a
// terminal would obey.
func AppendString(b []byte, s string) []byte { return appendString(b, s) }

// appendString appends a string of JSON.
func appendString(b []byte, s string) []byte {
	return append(appendSafe(append(b, '"'), s, false), '"')
}

// appendSafe appends text in which nothing is left that could end the line, or what it is quoted
// in, or that a terminal would obey: whatever does not print is escaped, as is a space in what is
// bare. What is no UTF-8 becomes U+FFFD.
func appendSafe(b []byte, s string, bare bool) []byte {
	for i := 0; i < len(s); {
		r, n := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRuneInString(s[i:])
		}
		if r == '"' || r == '\\' || r == ' ' && bare || !strconv.IsPrint(r) {
			b = appendEscaped(b, r)
		} else {
			b = utf8.AppendRune(b, r)
		}
		i += n
	}
	return b
}

// appendEscaped writes a character as JSON's \u, or two of them (RFC 8259 §7).
func appendEscaped(b []byte, r rune) []byte {
	if r >= 0x10000 {
		r -= 0x10000
		b = appendEscaped(b, 0xd800+r>>10)
		r = 0xdc00 + r&0x3ff
	}
	const digits = "0123456789abcdef"
	return append(b, '\\', 'u', digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15])
}

func hostOf(address string) string {
	host, _ := outcome.SplitPort(address)
	return strings.Trim(host, "[]")
}
