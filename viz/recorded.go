package viz

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/trace"
	"github.com/tulle-mesh/tulle/viz/api"
)

// recorded is a record that is looked at: what a proxy said, and whose it is.
type recorded struct {
	*kept
	said *api.Record
	of   workload // the proxy's
}

// workloadNames are what proxies' workloads are called, as their reports say.
type workloadNames map[reporter]workload

// workloads are those of all proxies that viz remembers.
func (s *store) workloads() workloadNames {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make(workloadNames, len(s.processes))
	seen := make(map[reporter]time.Time, len(s.processes))
	for key, p := range s.processes {
		if last, known := seen[key.reporter]; !known || p.seen.After(last) {
			out[key.reporter], seen[key.reporter] = p.workload, p.seen
		}
	}
	return out
}

// of is a reporter's workload; of one that has not reported yet its account is known.
func (n workloadNames) of(who reporter) workload {
	if w, known := n[who]; known {
		return w
	}
	return workload{who.namespace, "serviceaccount", who.account, who.pod}
}

func (n workloadNames) look(k *kept) recorded { return recorded{k, k.record(), n.of(k.who)} }

func (r *recorded) inbound() bool {
	return r.said.Labels.Direction == api.Direction_DIRECTION_INBOUND
}

// span is the ID of the request's span, or of its first try's.
func (r *recorded) span() trace.SpanID { return spanID(r.said.GetTrace().GetSpanId()) }

func (r *recorded) parent() trace.SpanID { return spanID(r.said.GetTrace().GetParentId()) }

// spanID is zero for what is none.
func spanID(b []byte) (id trace.SpanID) {
	if len(b) == len(id) {
		copy(id[:], b)
	}
	return id
}

func parseTraceID(text string) (id trace.ID, ok bool) {
	n, err := hex.Decode(id[:], []byte(text[:min(len(text), 2*len(id))]))
	return id, err == nil && n == len(id) && len(text) == 2*len(id) && id != trace.ID{}
}

func (r *recorded) labels() labels { return labelsOf(r.said.Labels) }

// outcome is the record as the proxy had it, without what could move a terminal's cursor.
func (r *recorded) outcome() *outcome.Record {
	m, l := r.said, r.labels()
	out := &outcome.Record{
		Request: outcome.Request{Failed: m.Failed, Latency: micros(m.DurationUs)},
		Labels: metric.Labels{
			Direction: metric.Direction(l.direction), Authority: l.authority,
			Namespace: l.namespace, Service: l.service, Route: l.route, Backend: l.backend,
			PeerID: l.peerID, OwnID: l.ownID, Security: metric.Security(l.security),
			Protocol: l.protocol, PeerAddress: l.peerAddress, Port: l.port,
		},
		Start: r.start, Method: printable(m.Method), Path: printable(m.Path),
		Authority: printable(m.Authority), HTTP1: m.HttpVersion == 1,
		ClientAddress: printable(m.ClientAddress), Endpoint: printable(m.Endpoint),
		Status: int(m.Status), GRPCStatus: printable(m.GrpcStatus), Tries: int(m.Tries),
		Cut: m.Cut, Reason: reasonOf(m.Reason), Detail: printable(m.Detail),
		Trace: &outcome.Trace{Span: r.span(), Held: m.Trace.GetHeld(),
			Query: printable(m.Trace.GetQuery())},
	}
	out.Trace.Context.Trace, out.Trace.Context.Parent = r.trace, r.parent()
	for _, t := range m.Trace.GetTries() {
		out.Trace.Tries = append(out.Trace.Tries, r.try(t))
	}
	if id := m.Trace.GetLinkedTraceId(); len(id) == len(trace.ID{}) {
		out.Trace.Link = &outcome.Link{Trace: trace.ID(id),
			Span: spanID(m.Trace.GetLinkedSpanId())}
	}
	return out
}

func (r *recorded) try(t *api.RecordTry) outcome.Try {
	at := func(us uint64) time.Time {
		if us == 0 {
			return time.Time{}
		}
		return r.start.Add(micros(us))
	}
	return outcome.Try{Span: spanID(t.GetSpanId()), Begun: r.start.Add(micros(t.GetBegunUs())),
		Sent: at(t.GetSentUs()), Ended: at(t.GetEndedUs()), Endpoint: printable(t.GetEndpoint()),
		Status: int(t.GetStatus()), GRPC: printable(t.GetGrpcStatus()),
		Reason: reasonOf(t.GetReason()), Hedge: t.GetHedge(), Lost: t.GetLost()}
}

// reasonOf is a word of the list; one that only newer proxies know is none.
func reasonOf(word string) outcome.Reason {
	why, _ := outcome.Said(word + ": ")
	return why
}

// request is the record as people see it.
func (r *recorded) request() *TapRecord { return tapRecord(r.who, r.of, r.said) }

// asked is the request in a few words: "GET /pay", "a connection".
func (r *TapRecord) asked() string {
	if r.Method == "" {
		return "a connection"
	}
	return r.Method + " " + r.Path
}

// caller and callee are who, in one word.
func (r *TapRecord) caller() string {
	if r.ClientWorkload != "" {
		return bare(r.ClientWorkload)
	}
	if _, account, ok := accountOf(r.ClientID); ok {
		return account
	}
	return cmp.Or(r.ClientAddress, "somebody")
}

func (r *TapRecord) callee() string {
	return cmp.Or(r.Service, bare(r.ServerWorkload), r.Destination, r.Host, "its destination")
}

func bare(workload string) string { return workload[strings.IndexByte(workload, '/')+1:] }

// answered is how it ended: "200", "UNAVAILABLE (200)", "no answer".
func answered(status uint32, grpc string) string {
	switch {
	case status == 0:
		return "no answer"
	case grpc != "":
		return fmt.Sprintf("%s (%d)", grpc, status)
	}
	return fmt.Sprint(status)
}
