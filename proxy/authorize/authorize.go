package authorize

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

// Caller is who is at the other end of an inbound connection.
type Caller struct {
	ID       string // SPIFFE ID; empty: unauthenticated
	Address  netip.Addr
	Node     bool // it calls from the pod's own node, without an ID: it may be the kubelet
	Security metric.Security
	Chose    bool // the port, by a server name alone: what it dialed is the proxy's own
}

// Meshed reports whether the caller has proved an identity.
func (c Caller) Meshed() bool { return c.ID != "" }

// Label says whose cell it is, at a port of the workload whose ID is own; strangers bounds the
// addresses of callers that have no ID.
func (c Caller) Label(l *metric.Labels, own string, strangers *metric.Addresses) {
	l.Direction, l.PeerID, l.Security = metric.Inbound, c.ID, c.Security
	if c.Meshed() {
		l.OwnID = own
	} else {
		l.PeerAddress = strangers.Label(c.Address, time.Now())
	}
}

// Policy says who may call one of the workload's ports. It is immutable.
type Policy struct {
	port    uint32
	chosen  bool      // callers may choose the port by a server name
	until   time.Time // or may still, until then
	strict  bool
	allowed []string   // SPIFFE IDs
	action  api.Action // about those that the mode admits and allowed does not name
	probes  []string
	tls     bool // the kubelet probes the port over the application's own TLS
}

// Compile turns a message into a policy. What this proxy does not understand makes the whole
// message an error.
func Compile(m *api.Inbound) (*Policy, error) {
	pol := &Policy{
		port: m.Port, chosen: m.Reach == api.Reach_REACH_CHOSEN,
		strict: m.Mode == api.Mode_MODE_STRICT, action: m.DefaultAction,
	}
	if !pol.chosen && m.Reach != api.Reach_REACH_DIALED {
		return nil, fmt.Errorf("a reach (%d) that this proxy does not know", m.Reach)
	}
	if m.Mode != api.Mode_MODE_STRICT && m.Mode != api.Mode_MODE_PERMISSIVE {
		return nil, fmt.Errorf("a mode (%d) that this proxy does not know", m.Mode)
	}
	if m.DefaultAction != api.Action_ACTION_ALLOW && m.DefaultAction != api.Action_ACTION_DENY {
		return nil, fmt.Errorf("a default action (%d) that this proxy does not know",
			m.DefaultAction)
	}
	for i, a := range m.Authorizations {
		if err := api.Understood(a); err != nil {
			return nil, fmt.Errorf("authorization %d: %w", i, err)
		}
		if len(a.Identities) == 0 {
			return nil, fmt.Errorf("authorization %d names nobody that this proxy knows", i)
		}
		pol.allowed = append(pol.allowed, a.Identities...)
	}
	for _, pr := range m.Probes {
		if pr.Tls {
			pol.tls = true
		} else {
			pol.probes = append(pol.probes, pr.Path)
		}
	}
	return pol, nil
}

// Closed is the policy that admits nobody, whatever else pol says.
func (pol *Policy) Closed() *Policy {
	none := *pol
	none.allowed, none.action = nil, api.Action_ACTION_DENY
	return &none
}

// After is the policy as it counts after another one: callers who could choose the port may do so
// for the grace.
func (pol *Policy) After(was *Policy, now time.Time, grace time.Duration) *Policy {
	if pol.chosen || !was.chosen && was.until.IsZero() {
		return pol
	}
	next := *pol
	if next.until = was.until; was.chosen {
		next.until = now.Add(grace)
	}
	return &next
}

// Refusal is why a request is not served.
type Refusal struct {
	Status  int
	Reason  string
	Over    Excess // of status 429
	Crowded bool   // it is for want of room, which others may have
}

func forbidden(reason string) *Refusal { return &Refusal{Status: 403, Reason: reason} }

// Verdict decides about a caller.
func (pol *Policy) Verdict(who Caller) *Refusal {
	id := who.ID
	switch {
	case who.Chose && !pol.chosen && !time.Now().Before(pol.until):
		return forbidden(fmt.Sprintf("port %d is named by no containerPort of the pod and by"+
			" no Service in front of it, so it is not reached through port %d:"+
			" name it in one of them", pol.port, config.InboundPort))
	case id == "" && pol.strict:
		return forbidden("this workload takes calls from the mesh only (mode: strict)")
	case pol.action == api.Action_ACTION_ALLOW:
		return nil
	}
	for _, a := range pol.allowed {
		if a == id {
			return nil
		}
	}
	if id == "" {
		id = "an unauthenticated caller"
	}
	return forbidden(id + " is not allowed to call this port")
}

// grpcHealthPath is a probe of kind grpc's.
const grpcHealthPath = "/grpc.health.v1.Health/Check"

// Probe reports whether a plaintext request for a path is the kubelet's: it has no SVID, and a pod
// that cannot be probed is killed.
func (pol *Policy) Probe(method, path string) bool {
	want := "GET"
	if path == grpcHealthPath {
		want = "POST"
	}
	return method == want && slices.Contains(pol.probes, path)
}

// TLSProbe reports whether the caller may be the kubelet that probes this port over the
// application's own TLS, in which nobody can see what it asks. It is known by where it calls from.
func (pol *Policy) TLSProbe(who Caller) bool { return pol.tls && who.Node && !who.Meshed() }

// Application is where the application listens for a connection that was sent to dst, for target
// port: the original destination and nothing else.
func Application(cfg *config.Config, dst netip.AddrPort, port uint16) (string, *Refusal) {
	switch port {
	case config.OutboundPort, config.InboundPort, config.AdminPort:
		return "", forbidden("the proxy's own ports are not served through it")
	}
	if cfg.Apps != nil {
		if addr := cfg.Apps[port]; addr != "" {
			return addr, nil
		}
		return "", forbidden("no application is known at this port")
	}
	if dst.Port() != config.InboundPort && dst.Port() != port {
		return "", forbidden("the server name's port is not the one that was dialed")
	}
	for _, ip := range cfg.PodIPs {
		if ip == dst.Addr().Unmap() {
			return netip.AddrPortFrom(ip, port).String(), nil
		}
	}
	return "", forbidden("the address dialed is not one of this pod's")
}
