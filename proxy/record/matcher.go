package record

import (
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/viz/api"
)

// matcher is a tap's filter, made ready to be asked of every request. What is empty is not asked.
type matcher struct {
	never     bool
	direction metric.Direction
	methods   []string
	path      string // a prefix
	authority string
	service   string
	namespace string // the service's
	requestID string
	trace     [16]byte

	// What is known at a request's end only.
	statuses  [2]int // from, to; both 0: any
	reasons   uint64 // a bit each
	failed    bool
	retried   bool
	latency   time.Duration
	route     string
	routed    bool // route is asked for, be it the default one
	peer      string
	inside    string // what the ID of a peer in the namespace asked for has
	peerSpace string
	workload  string
}

// defaultRoute is how people write the route that has no name.
const defaultRoute = "[default]"

// compile makes a filter ready. Of what this proxy does not understand nothing is shown.
func compile(f *api.TapFilter) matcher {
	m := matcher{
		never:     len(f.ProtoReflect().GetUnknown()) > 0,
		direction: metric.Direction(f.GetDirection()), methods: f.GetMethods(),
		path: f.GetPathPrefix(), authority: f.GetAuthority(), service: f.GetService(),
		namespace: f.GetServiceNamespace(), requestID: f.GetRequestId(),
		failed: f.GetFailed(), retried: f.GetRetried(),
		latency: time.Duration(min(f.GetMinLatencyUs(), maxLatencyUs)) * time.Microsecond,
		route:   f.GetRoute(), routed: f.GetRoute() != "", peer: f.GetPeerId(),
		peerSpace: f.GetPeerNamespace(), workload: f.GetPeerWorkload(),
	}
	if m.route == defaultRoute {
		m.route = ""
	}
	if m.peerSpace != "" {
		m.inside = "/ns/" + m.peerSpace + "/sa/"
	}
	if d := f.GetDirection(); d < 0 || d > api.Direction_DIRECTION_OUTBOUND {
		m.never = true
	}
	if id := f.GetTraceId(); len(id) > 0 {
		m.never = m.never || len(id) != len(m.trace)
		copy(m.trace[:], id)
	}
	m.takeStatuses(f)
	m.takeReasons(f.GetReasons())
	return m
}

const (
	maxStatus    = 999
	maxLatencyUs = uint64(24 * time.Hour / time.Microsecond)
)

func (m *matcher) takeStatuses(f *api.TapFilter) {
	from, to := min(f.GetMinStatus(), maxStatus), min(f.GetMaxStatus(), maxStatus)
	if from > 0 && to == 0 {
		to = maxStatus
	}
	m.statuses = [2]int{int(from), int(to)}
}

func (m *matcher) takeReasons(words []string) {
	for _, word := range words {
		if why, _ := outcome.Said(word + ": "); why != outcome.Plain { // else nothing has it
			m.reasons |= 1 << why
		}
	}
	m.never = m.never || len(words) > 0 && m.reasons == 0
}

// late reports whether only a request's end can tell.
func (m *matcher) late() bool {
	return m.statuses != [2]int{} || m.reasons != 0 || m.failed || m.retried || m.latency > 0 ||
		m.peer != "" || m.inside != "" || m.workload != ""
}

// goesOut reports whether a request that is about to go out may match.
func (m *matcher) goesOut(r *outcome.Record) bool {
	return !m.never && m.direction != metric.Inbound && m.asked(r)
}

// asked is the part of a match that a request's beginning tells.
func (m *matcher) asked(r *outcome.Record) bool {
	switch {
	case len(m.methods) > 0 && !slices.Contains(m.methods, r.Method),
		!strings.HasPrefix(r.Path, m.path),
		m.service != "" && r.Labels.Service != m.service,
		m.namespace != "" && r.Labels.Namespace != m.namespace,
		m.routed && r.Labels.Route != m.route,
		m.authority != "" && !m.calls(r.Authority),
		m.requestID != "" && r.RequestID != m.requestID,
		m.trace != [16]byte{} && (r.Trace == nil || r.Trace.Context.Trace != m.trace):
		return false
	}
	return true
}

// calls reports whether an authority is the one asked for, whatever its port if that has none.
func (m *matcher) calls(authority string) bool {
	if strings.EqualFold(authority, m.authority) {
		return true
	}
	host, port := outcome.SplitPort(authority)
	return port != 0 && strings.EqualFold(host, m.authority)
}

// matches reports whether a complete record is one that is asked for.
func (m *matcher) matches(r *outcome.Record) bool {
	switch {
	case m.never, m.direction != 0 && r.Labels.Direction != m.direction,
		m.failed && !r.Failed,
		m.retried && r.Tries < 2,
		r.Latency < m.latency,
		m.reasons != 0 && m.reasons&(1<<r.Reason) == 0,
		m.statuses != [2]int{} && (r.Status < m.statuses[0] || r.Status > m.statuses[1] ||
			r.Status == 0):
		return false
	}
	return m.asked(r) && m.meets(r)
}

// meets reports whether the other side is the one asked for.
func (m *matcher) meets(r *outcome.Record) bool {
	l := &r.Labels
	switch {
	case m.peer != "" && l.PeerID != m.peer, m.workload != "" && l.Peer.Name != m.workload:
		return false
	case m.peerSpace == "":
		return true
	case l.Peer.Namespace != "":
		return l.Peer.Namespace == m.peerSpace
	case l.Direction == metric.Outbound:
		return l.Namespace == m.peerSpace
	}
	return strings.Contains(l.PeerID, m.inside)
}
