package viz

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	spans "github.com/tulle-mesh/tulle/proxy/span"
	"github.com/tulle-mesh/tulle/proxy/trace"
)

// errUnknown marks questions for something that viz does not know, or no longer.
var errUnknown = errors.New("not known")

// The bounds of an answer about single requests.
const (
	DefaultLimit = 20
	MaxLimit     = MaxTraces
)

// TraceQuery asks for traces.
type TraceQuery struct {
	Service     string // that has a span in it: a workload or a service, "web"
	Namespace   string // of that; "": any
	Failed      bool   // only those that failed for who asked first
	MinDuration time.Duration
	Limit       int // 0: DefaultLimit
}

// Traces is the answer to /api/traces, the newest first.
type Traces struct {
	Traces []TraceRow `json:"traces"`
	Known  int        `json:"known"` // of how many, whatever was asked for
}

// TraceRow is one trace.
type TraceRow struct {
	TraceID    string    `json:"traceId"`
	Root       string    `json:"root"`    // the name of the first span
	Service    string    `json:"service"` // the workload that it is of
	Namespace  string    `json:"namespace"`
	Start      time.Time `json:"start"`
	DurationMs float64   `json:"durationMs"`
	Spans      int       `json:"spans"`
	Errors     int       `json:"errors"` // of the spans
	Failed     bool      `json:"failed"` // for who asked first
	Reason     string    `json:"reason,omitempty"`
	Retries    int       `json:"retries"`
	Services   []string  `json:"services"` // all workloads that have a span in it
}

// Trace is the answer to /api/traces/ID.
type Trace struct {
	TraceRow
	// Held: nobody had sampled it; it was kept because it was slow, or failed.
	Held bool   `json:"held,omitempty"`
	Tree []Span `json:"spans"` // parents before their children
	// Notes say in words what is odd about the trace as it is drawn.
	Notes []string `json:"notes,omitempty"`
	// Copies are the traces of what was mirrored of its requests.
	Copies []string `json:"copies,omitempty"`
}

// Span is one span of a trace.
type Span struct {
	SpanID    string `json:"spanId"`
	ParentID  string `json:"parentId,omitempty"` // of a span that is there, or is not
	Depth     int    `json:"depth"`
	Name      string `json:"name"`
	Kind      string `json:"kind"` // client or server
	Workload  string `json:"workload"`
	Namespace string `json:"namespace,omitempty"`
	Pod       string `json:"pod,omitempty"`
	// StartUs is in microseconds since 1970, corrected by ShiftedUs where clocks differ.
	StartUs    int64          `json:"startUs"`
	DurationUs int64          `json:"durationUs"`
	ShiftedUs  int64          `json:"shiftedUs,omitempty"`
	Status     string         `json:"status"` // ok or error
	Reason     string         `json:"reason,omitempty"`
	Inferred   bool           `json:"inferred,omitempty"` // its parent is the application's own
	Attributes map[string]any `json:"attributes"`
	Events     []SpanEvent    `json:"events,omitempty"`
	Link       *SpanLink      `json:"link,omitempty"` // what it is a copy of
}

// SpanEvent is when it was sent after it had waited, or tried again.
type SpanEvent struct {
	Name    string `json:"name"`
	StartUs int64  `json:"startUs"`
}

// SpanLink names a span of another trace.
type SpanLink struct {
	TraceID string `json:"traceId"`
	SpanID  string `json:"spanId"`
}

// traceList answers /api/traces.
func (v *Server) traceList(now time.Time, q TraceQuery) (*Traces, error) {
	all, names := v.records.all(), v.store.workloads()
	out := &Traces{Traces: []TraceRow{}, Known: len(all)}
	for i := range all {
		records := all[i].look(names)
		if t := newTree(records); t.first() != nil && q.wants(t, records) {
			out.Traces = append(out.Traces, t.row(all[i].id))
		}
	}
	slices.SortStableFunc(out.Traces, func(a, b TraceRow) int { return b.Start.Compare(a.Start) })
	out.Traces = out.Traces[:min(len(out.Traces), q.Limit)]
	v.records.show(now, out.Traces)
	return out, nil
}

func (t *recordedTrace) look(names workloadNames) []recorded {
	out := make([]recorded, len(t.records))
	for i, k := range t.records {
		out[i] = names.look(k)
	}
	return out
}

func (q *TraceQuery) wants(t *tree, records []recorded) bool {
	failed, _ := t.failed()
	return (failed || !q.Failed) && t.end.Sub(t.begin) >= q.MinDuration &&
		(q.Service == "" && q.Namespace == "" ||
			slices.ContainsFunc(records, func(r recorded) bool {
				l := r.labels()
				return named(q, r.of.namespace, r.of.name) ||
					!l.inbound() && named(q, l.namespace, l.service)
			}))
}

func named(q *TraceQuery, namespace, name string) bool {
	return (q.Service == "" || q.Service == name) &&
		(q.Namespace == "" || q.Namespace == namespace)
}

func (t *tree) row(id trace.ID) TraceRow {
	root, services := t.first(), map[string]bool{}
	out := TraceRow{TraceID: id.String(), Root: root.Name(&spans.Methods{}),
		Service: root.from.of.name, Namespace: root.from.of.namespace, Start: t.begin,
		DurationMs: millisOf(t.end.Sub(t.begin)), Spans: len(t.nodes)}
	out.Failed, out.Errors = t.failed()
	for _, n := range t.nodes {
		services[n.from.of.name] = true
		if n.Resent > 0 {
			out.Retries++
		}
		if out.Reason == "" && n.Bad() {
			out.Reason = printable(n.from.said.Reason)
		}
	}
	out.Services = slices.Sorted(maps.Keys(services))
	return out
}

func millisOf(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// traceTree answers /api/traces/ID.
func (v *Server) traceTree(now time.Time, text string) (*Trace, error) {
	id, ok := parseTraceID(text)
	if !ok {
		return nil, fmt.Errorf("%w: %q is no trace's ID, which has 32 hexadecimal digits", errQuery,
			text)
	}
	known, ok := v.records.traceOf(now, id)
	names := v.store.workloads()
	records := known.look(names)
	t := newTree(records)
	if !ok || t.first() == nil {
		return nil, fmt.Errorf("%w: no trace %s: viz keeps the last %d", errUnknown, id, MaxTraces)
	}
	out := &Trace{TraceRow: t.row(id), Notes: t.notes(known.dropped), Copies: v.copies(id)}
	methods := &spans.Methods{}
	t.walk(func(n *node) {
		out.Held = out.Held || n.Trace.Held
		out.Tree = append(out.Tree, n.span(methods))
	})
	return out, nil
}

// copies are the traces whose first span is linked to one of this trace.
func (v *Server) copies(of trace.ID) (out []string) {
	for _, t := range v.records.all() {
		for _, k := range t.records {
			if id := k.record().GetTrace().GetLinkedTraceId(); string(id) == string(of[:]) {
				out = append(out, t.id.String())
				break
			}
		}
	}
	slices.Sort(out)
	return out
}

func (n *node) span(methods *spans.Methods) Span {
	out := Span{SpanID: n.ID.String(), Depth: n.depth, Name: n.Name(methods), Kind: "client",
		Workload: n.from.of.name, Namespace: n.from.of.namespace, Pod: n.from.of.pod,
		StartUs: n.Begin.UnixMicro(), DurationUs: n.End.Sub(n.Begin).Microseconds(),
		ShiftedUs: n.shift.Microseconds(), Status: "ok", Inferred: n.inferred,
		Attributes: map[string]any{}}
	if n.Parent != (trace.SpanID{}) {
		out.ParentID = n.Parent.String()
	}
	if n.Server {
		out.Kind = "server"
	}
	if n.Bad() {
		out.Status = "error"
	}
	n.Attributes(methods, func(a spans.Attribute) { out.Attributes[a.Key] = valueOf(a) })
	out.Reason, _ = out.Attributes[outcome.NameReason].(string)
	if at := n.Sent(); !at.IsZero() {
		out.Events = append(out.Events, SpanEvent{"sent", at.Add(n.shift).UnixMicro()})
	}
	for i := range n.Later {
		name := "retry"
		if n.Later[i].Hedge {
			name = "hedge"
		}
		out.Events = append(out.Events,
			SpanEvent{name, n.Later[i].Begun.Add(n.shift).UnixMicro()})
	}
	if l := n.Trace.Link; l != nil {
		out.Link = &SpanLink{l.Trace.String(), l.Span.String()}
	}
	return out
}

func valueOf(a spans.Attribute) any {
	switch {
	case a.Flag:
		return true
	case a.Number > 0:
		return a.Number
	}
	return a.Text
}

// leastShift is what clocks may differ by without a word.
const leastShift = time.Millisecond

// notes say what a reader of the tree would wonder about.
func (t *tree) notes(dropped int) (out []string) {
	say := func(format string, args ...any) {
		note := fmt.Sprintf(format, args...)
		if !slices.Contains(out, note) {
			out = append(out, note)
		}
	}
	t.walk(func(n *node) {
		switch d := n.shift.Abs(); {
		case n.inferred:
			say("%s sent some requests below spans of its own, which it exports elsewhere",
				n.from.of.name)
		case n.Parent != (trace.SpanID{}) && n.depth == 0:
			say("who called %s tells viz of no span: it is outside the mesh, or its proxy's record"+
				" has not come", n.from.of.name)
		case d >= leastShift:
			say("the clock of %s differs from its caller's, by about %s", n.from.of.pod,
				d.Round(time.Millisecond))
		}
		if n.half() {
			say("the proxy of %s has told nothing of a request that it got mTLS for",
				n.from.said.GetLabels().GetPeer().GetName())
		}
	})
	if dropped > 0 {
		say("%d records more were too much for one trace", dropped)
	}
	return out
}

// half reports whether a meshed callee answered, and its proxy's record is missing.
func (n *node) half() bool {
	return !n.Server && n.Answered() && len(n.children) == 0 &&
		n.Labels.Security == metric.MTLS && n.from.said.GetLabels().GetPeer().GetName() != ""
}

// The parameters of a question about single requests.
const (
	paramService     = "service"
	paramFailed      = "failed"
	paramMinDuration = "minDuration"
	paramLimit       = "limit"
)

func parseTraceQuery(p url.Values) (q TraceQuery, err error) {
	q = TraceQuery{Service: p.Get(paramService), Namespace: p.Get(paramNamespace),
		Failed: isSet(p.Get(paramFailed))}
	if isSet(p.Get(paramAll)) {
		q.Namespace = ""
	}
	if q.MinDuration, err = parseDuration(p, paramMinDuration, 0, maxDuration); err != nil {
		return q, err
	}
	q.Limit, err = parseLimit(p)
	return q, err
}

func parseLimit(p url.Values) (int, error) {
	text := p.Get(paramLimit)
	if text == "" {
		return DefaultLimit, nil
	}
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil || n < 1 || n > MaxLimit {
		return 0, fmt.Errorf("%w: limit is %q: use 1 to %d", errQuery, text, MaxLimit)
	}
	return n, nil
}

func (q *TraceQuery) values() url.Values {
	p := url.Values{}
	set(p, paramService, q.Service)
	set(p, paramNamespace, q.Namespace)
	setBounds(p, q.Failed, q.MinDuration, q.Limit)
	return p
}

// setBounds sets what questions about requests and about traces have in common.
func setBounds(p url.Values, failed bool, least time.Duration, limit int) {
	if failed {
		p.Set(paramFailed, "1")
	}
	if least > 0 {
		p.Set(paramMinDuration, least.String())
	}
	if limit > 0 {
		p.Set(paramLimit, strconv.Itoa(limit))
	}
}

func set(p url.Values, name, value string) {
	if value != "" {
		p.Set(name, value)
	}
}
