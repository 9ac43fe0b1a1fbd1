package viz

import (
	"encoding/hex"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/viz/api"
)

// TapRecord is one request, or one opaque connection, as a tap shows it: what the caller's proxy
// saw, and within it what the callee's did. Where only one of them was heard it is that one's.
// Names are those of the access log (docs/accesslog.md); times are seconds.
type TapRecord struct {
	Time      time.Time `json:"time"`
	Direction string    `json:"tulle.direction"`

	Method    string  `json:"http.request.method,omitempty"`
	Path      string  `json:"url.path,omitempty"`
	Host      string  `json:"server.address,omitempty"`
	Port      uint64  `json:"server.port,omitempty"`
	Version   string  `json:"network.protocol.version,omitempty"`
	Transport string  `json:"network.transport,omitempty"`
	Status    uint32  `json:"http.response.status_code,omitempty"`
	GRPC      string  `json:"rpc.response.status_code,omitempty"`
	Sent      *uint64 `json:"http.request.body.size,omitempty"`
	Received  *uint64 `json:"http.response.body.size,omitempty"`
	Said      *uint64 `json:"tulle.request.size,omitempty"` // of an opaque connection
	Answered  *uint64 `json:"tulle.response.size,omitempty"`

	FirstByte    float64  `json:"tulle.first_byte,omitempty"`
	Duration     float64  `json:"tulle.duration"`
	DeadlineLeft *float64 `json:"tulle.deadline_left,omitempty"`
	Tries        uint32   `json:"tulle.tries"`
	UserAgent    string   `json:"user_agent.original,omitempty"`
	RequestID    string   `json:"tulle.request_id,omitempty"`
	TraceID      string   `json:"trace_id,omitempty"`
	SpanID       string   `json:"span_id,omitempty"`

	ClientAddress   string `json:"client.address,omitempty"`
	ClientID        string `json:"tulle.client.id,omitempty"`
	ClientNamespace string `json:"tulle.client.namespace,omitempty"`
	ClientWorkload  string `json:"tulle.client.workload,omitempty"` // "deployment/web"
	ClientPod       string `json:"tulle.client.pod,omitempty"`
	ServerID        string `json:"tulle.server.id,omitempty"`
	ServerNamespace string `json:"tulle.server.namespace,omitempty"`
	ServerWorkload  string `json:"tulle.server.workload,omitempty"`
	ServerPod       string `json:"tulle.server.pod,omitempty"`
	Security        string `json:"tulle.security,omitempty"`

	Destination string `json:"tulle.destination,omitempty"`
	Namespace   string `json:"tulle.namespace,omitempty"`
	Service     string `json:"tulle.service,omitempty"`
	Route       string `json:"tulle.route,omitempty"`
	Backend     string `json:"tulle.backend,omitempty"`
	Endpoint    string `json:"tulle.endpoint,omitempty"`

	Reason string   `json:"tulle.reason,omitempty"`
	Error  string   `json:"tulle.error,omitempty"`
	Flags  []string `json:"tulle.flags,omitempty"`

	// Inbound is the same request as the callee's proxy saw it.
	Inbound *TapRecord `json:"tulle.inbound,omitempty"`
}

// tapRecord is what a proxy tells of a request, in the words of the API.
func tapRecord(who reporter, w workload, m *api.Record) *TapRecord {
	r := &TapRecord{
		Time: time.UnixMicro(m.StartUnixUs).UTC(), Method: printable(m.Method),
		Path: printable(m.Path), Duration: seconds(m.DurationUs), Tries: m.Tries,
		FirstByte: seconds(m.FirstByteUs), UserAgent: printable(m.UserAgent),
		RequestID: printable(m.RequestId), Endpoint: printable(m.Endpoint),
		Reason: printable(m.Reason), Error: printable(m.Detail), Flags: flagsOf(m),
	}
	r.Host, r.Port = outcome.SplitPort(printable(m.Authority))
	client, _ := outcome.SplitPort(printable(m.ClientAddress))
	r.ClientAddress = strings.Trim(client, "[]")
	if m.LimitUs > 0 {
		left := max(seconds(m.LimitUs)-seconds(m.DurationUs), 0)
		r.DeadlineLeft = &left
	}
	if t := m.Trace; t != nil && !t.Held {
		r.TraceID, r.SpanID = hex.EncodeToString(t.TraceId), hex.EncodeToString(t.SpanId)
	}
	r.spoken(m)
	l := labelsOf(m.Labels)
	r.called(&l)
	r.between(who, w, &l)
	return r
}

func seconds(us uint64) float64 { return float64(us) / 1e6 }

// spoken is how, and with what success.
func (r *TapRecord) spoken(m *api.Record) {
	sent, received := m.RequestBytes, m.ResponseBytes
	switch m.HttpVersion {
	case 0:
		r.Transport, r.Said, r.Answered = "tcp", &sent, &received
		return
	case 1:
		r.Version = "1.1"
	default:
		r.Version = "2"
	}
	r.Sent, r.Received, r.Status = &sent, &received, m.Status
	if m.GrpcStatus != "" {
		r.GRPC = printable(outcome.GRPCName(m.GrpcStatus))
	}
}

func (r *TapRecord) called(l *labels) {
	r.Destination, r.Namespace, r.Service = l.authority, l.namespace, l.service
	r.Route, r.Backend = l.route, l.backend
	if l.security != api.Security_SECURITY_UNSPECIFIED {
		r.Security = metric.Security(l.security).String()
	}
}

// between is who calls whom. Of the way in the caller is known by its identity alone.
func (r *TapRecord) between(who reporter, own workload, l *labels) {
	r.Direction = metric.Direction(l.direction).String()
	if l.outbound() {
		r.ClientNamespace, r.ClientWorkload, r.ClientPod = who.namespace, own.title(), who.pod
		r.ServerNamespace, r.ServerWorkload, r.ServerPod = l.peer.namespace, l.peer.title(),
			l.peer.pod
		r.ClientID, r.ServerID = l.ownID, l.peerID
		return
	}
	r.ServerNamespace, r.ServerWorkload, r.ServerPod = who.namespace, own.title(), who.pod
	r.ClientID, r.ServerID = l.peerID, l.ownID
	r.ClientNamespace, _, _ = accountOf(l.peerID)
}

// title is a workload in one word: "deployment/web".
func (w workload) title() string {
	if w.name == "" {
		return ""
	}
	return w.kind + "/" + w.name
}

func flagsOf(m *api.Record) (flags []string) {
	for _, f := range [...]struct {
		set  bool
		name string
	}{{m.Failed, "failed"}, {m.Tries > 1, "retried"}, {m.Delayed, "delayed"},
		{m.Upgraded, "upgraded"}, {m.Cut, "cut"}} {
		if f.set {
			flags = append(flags, f.name)
		}
	}
	return flags
}
