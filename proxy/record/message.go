package record

import (
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/viz/api"
)

// message is a record as viz is told it, for these taps.
func message(r *outcome.Record, taps []uint32) *api.Record {
	m := &api.Record{
		StartUnixUs: r.Start.UnixMicro(), DurationUs: micros(r.Latency),
		FirstByteUs: micros(r.FirstByte), Labels: labelsOf(r.Labels),
		Method: valid(r.Method), Path: valid(r.Path), Authority: valid(r.Authority),
		UserAgent: valid(r.UserAgent), RequestId: valid(r.RequestID),
		ClientAddress: r.ClientAddress, Endpoint: r.Endpoint,
		HttpVersion: version(r), Status: uint32(max(r.Status, 0)), GrpcStatus: valid(r.GRPCStatus),
		LimitUs: micros(r.Limit), RequestBytes: r.RequestBytes, ResponseBytes: r.ResponseBytes,
		Tries: uint32(max(r.Tries, 0)), Reason: r.Reason.String(), Detail: valid(r.Detail),
		Failed: r.Failed, Delayed: r.Delayed, Upgraded: r.Upgraded, Cut: r.Cut,
		Hop: r.Hop, Taps: taps,
	}
	if r.Trace != nil {
		m.Trace = traceOf(r)
	}
	return m
}

// valid is a peer's as a message can carry it: UTF-8.
func valid(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

func micros(d time.Duration) uint64 { return uint64(max(d, 0).Microseconds()) }

func version(r *outcome.Record) uint32 {
	switch {
	case r.Method == "":
		return 0
	case r.HTTP1:
		return 1
	}
	return 2
}

func traceOf(r *outcome.Record) *api.RecordTrace {
	t := r.Trace
	out := &api.RecordTrace{
		TraceId: t.Context.Trace[:], SpanId: t.Span[:], Held: t.Held, Query: valid(t.Query),
	}
	if p := t.Context.Parent; p != [8]byte{} {
		out.ParentId = p[:]
	}
	if l := t.Link; l != nil {
		out.LinkedTraceId, out.LinkedSpanId = l.Trace[:], l.Span[:]
	}
	for i := range t.Tries {
		out.Tries = append(out.Tries, tryOf(r, &t.Tries[i]))
	}
	return out
}

func tryOf(r *outcome.Record, t *outcome.Try) *api.RecordTry {
	since := func(at time.Time) uint64 {
		if at.IsZero() {
			return 0
		}
		return micros(at.Sub(r.Start))
	}
	out := &api.RecordTry{
		SpanId: t.Span[:], BegunUs: since(t.Begun), SentUs: since(t.Sent), EndedUs: since(t.Ended),
		Endpoint: t.Endpoint, Status: uint32(max(t.Status, 0)), GrpcStatus: valid(t.GRPC),
		Reason: t.Reason.String(), Hedge: t.Hedge, Lost: t.Lost,
	}
	if t.Ended.IsZero() {
		out.EndedUs = micros(r.Latency)
	}
	return out
}

// fixedSize is what a record's message takes beside its texts, bytes.
const fixedSize = 160

// sizeOf is about what a record's message takes, bytes.
func sizeOf(r *outcome.Record) int {
	l := &r.Labels
	n := fixedSize
	for _, s := range [...]string{r.Method, r.Path, r.Authority, r.UserAgent, r.RequestID,
		r.ClientAddress, r.Endpoint, r.GRPCStatus, r.Detail, l.Authority, l.Namespace, l.Service,
		l.Route, l.Backend, l.PeerID, l.OwnID, l.Peer.Namespace, l.Peer.Name, l.Peer.Pod,
		l.Protocol} {
		n += len(s)
	}
	return n
}
