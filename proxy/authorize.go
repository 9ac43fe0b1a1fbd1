package proxy

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"golang.org/x/net/http2/hpack"
)

// maxInboundPorts bounds what a port scan through 4143 can make the proxy subscribe to. The least recently used go first,
// but none behind which an application has answered: a scan must not make the proxy forget its policy.
const maxInboundPorts = 256

// inboundPort is one of the workload's own ports: its policy, and the application behind it.
type inboundPort struct {
	p        *Proxy
	key      *api.Key
	answered chan struct{} // closed by destination's first answer
	once     sync.Once
	policy   atomic.Pointer[inboundPolicy]
	evicted  atomic.Bool
	tunnels  live[*tunnel] // to the application, opaque

	mu   sync.Mutex          // guards apps
	apps map[string]*cluster // by address: one for each of the pod's IPs at most
}

// inboundPolicy is immutable.
type inboundPolicy struct {
	protocol api.Protocol
	httpOnly bool
	strict   bool
	allowed  []string   // SPIFFE IDs
	action   api.Action // about those that the mode admits and allowed does not name
	probes   []string
	route    *route
}

// inbound returns the port, subscribed.
func (d *discovery) inbound(port uint16) *inboundPort {
	d.mu.Lock()
	defer d.mu.Unlock()
	if in, ok := d.inbounds.Get(port); ok {
		return in
	}
	key := &api.Key{Key: &api.Key_InboundPort{InboundPort: uint32(port)}}
	in := &inboundPort{p: d.p, key: key, answered: make(chan struct{})}
	pol, _ := in.compile(d.p.defaultInbound(port)) // nothing in it can fail
	in.policy.Store(pol)
	d.inbounds.Add(port, in)
	if d.inbounds.Len() > maxInboundPorts {
		d.evictUnserved()
	}
	d.subscribe(key)
	return in
}

// evictUnserved forgets one port behind which nothing ever answered. What does answer is bounded by the application. mu is
// held.
func (d *discovery) evictUnserved() {
	keys := d.inbounds.Keys()
	for _, port := range keys[:len(keys)-1] { // the newest is about to be used
		if in, ok := d.inbounds.Peek(port); ok && !in.served() {
			d.inbounds.Remove(port)
			return
		}
	}
}

// served reports whether an application has ever answered at this port.
func (in *inboundPort) served() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, c := range in.apps {
		if c.set.Load().endpoints[0].answered.Load() {
			return true
		}
	}
	return false
}

// known reports whether destination has answered.
func (in *inboundPort) known() bool {
	select {
	case <-in.answered:
		return true
	default:
		return false
	}
}

// defaultInbound is what the environment says, until destination does.
func (p *Proxy) defaultInbound(port uint16) *api.Inbound {
	m := &api.Inbound{Port: uint32(port), Protocol: api.Protocol_PROTOCOL_DETECT,
		Mode: api.Mode_MODE_PERMISSIVE, DefaultAction: api.Action_ACTION_ALLOW}
	if p.cfg.Strict {
		m.Mode = api.Mode_MODE_STRICT
	}
	for _, path := range p.cfg.Probes[port] {
		m.Probes = append(m.Probes, &api.Probe{Path: path})
	}
	if p.cfg.OpaquePorts[port] {
		m.Protocol = api.Protocol_PROTOCOL_OPAQUE
	}
	return m
}

func (in *inboundPort) update(pol *inboundPolicy) {
	in.policy.Store(pol)
	in.once.Do(func() { close(in.answered) })
	in.tunnels.each(func(t *tunnel) { // a request is asked about as it comes; a tunnel goes on
		if in.verdict(t.caller) != nil {
			t.Close()
		}
	})
}

// refuse: destination has no answer for this port. Nobody is admitted, unless there was an answer before.
func (in *inboundPort) refuse() {
	if !in.known() {
		pol := *in.policy.Load()
		pol.allowed, pol.action = nil, api.Action_ACTION_DENY
		in.update(&pol)
	}
}

// compile turns a message into a policy. What this proxy does not understand makes the whole message an error.
func (in *inboundPort) compile(m *api.Inbound) (*inboundPolicy, error) {
	pol := &inboundPolicy{protocol: m.Protocol, httpOnly: takesHTTPOnly(m.Protocol, len(m.Http)),
		strict: m.Mode == api.Mode_MODE_STRICT, action: m.DefaultAction}
	if m.Mode != api.Mode_MODE_STRICT && m.Mode != api.Mode_MODE_PERMISSIVE {
		return nil, fmt.Errorf("a mode (%d) that this proxy does not know", m.Mode)
	}
	if m.DefaultAction != api.Action_ACTION_ALLOW && m.DefaultAction != api.Action_ACTION_DENY {
		return nil, fmt.Errorf("a default action (%d) that this proxy does not know", m.DefaultAction)
	}
	for i, a := range m.Authorizations {
		if err := strict(a); err != nil {
			return nil, fmt.Errorf("authorization %d: %w", i, err)
		}
		if len(a.Identities) == 0 {
			return nil, fmt.Errorf("authorization %d names nobody that this proxy knows", i)
		}
		pol.allowed = append(pol.allowed, a.Identities...)
	}
	for _, pr := range m.Probes {
		pol.probes = append(pol.probes, pr.Path)
	}
	msg := &api.Route{Resolution: api.Resolution_RESOLUTION_FOUND, Protocol: m.Protocol, Http: m.Http, Destination: m.Service}
	r, err := compileRoute(msg, in.p.inboundBudget, func(string) *cluster { return nil })
	if err != nil {
		return nil, err
	}
	for _, u := range r.rules {
		// These rules name routes. Retries and timeouts are the caller's proxy's to do, once.
		u.retry, u.request, u.try = false, 0, 0
	}
	pol.route = r
	return pol, nil
}

// wait returns the policy, waiting for destination's as long as it may yet come. Before destination has ever spoken only the
// patient wait: the kubelet, whose probes are admitted anyhow, is not.
func (in *inboundPort) wait(ctx context.Context, patient bool) *inboundPolicy {
	if patient || in.p.discovery.status() == nil {
		ctx, cancel := context.WithTimeout(ctx, in.p.limits.DiscoveryWait)
		defer cancel()
		select {
		case <-in.answered:
		case <-ctx.Done():
		}
	}
	return in.policy.Load()
}

// refusal is why a request is not served.
type refusal struct {
	status int
	reason string
}

// verdict decides about a caller. Until destination has answered, who may call is not known, and nobody from the network
// may: the environment is as old as the pod, and knows no authorizations.
func (in *inboundPort) verdict(who caller) *refusal {
	switch {
	case in.known():
		return in.policy.Load().verdict(who.id)
	case who.security == metric.Loopback:
		return nil
	}
	return &refusal{503, "destination has not said yet who may call this port"}
}

// verdict decides about a caller; id is empty for one that proved nothing.
func (pol *inboundPolicy) verdict(id string) *refusal {
	switch {
	case id == "" && pol.strict:
		return &refusal{403, "this workload takes calls from the mesh only (mode: strict)"}
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
	return &refusal{403, id + " is not allowed to call this port"}
}

// grpcHealthPath is a probe of kind grpc's.
const grpcHealthPath = "/grpc.health.v1.Health/Check"

// probe reports whether a plaintext request is the kubelet's: it has no SVID, and a pod that cannot be probed is killed.
func (pol *inboundPolicy) probe(req []hpack.HeaderField) bool {
	path, _, _ := strings.Cut(value(req, ":path"), "?") // destination names paths only
	method := "GET"
	if path == grpcHealthPath {
		method = "POST"
	}
	if value(req, ":method") != method {
		return false
	}
	for _, p := range pol.probes {
		if path == p {
			return true
		}
	}
	return false
}

// appAddress is where the application listens for a connection that was sent to dst, for target port: the original
// destination and nothing else.
func (p *Proxy) appAddress(dst netip.AddrPort, port uint16) (string, *refusal) {
	switch port {
	case config.OutboundPort, config.InboundPort, config.AdminPort:
		return "", &refusal{403, "the proxy's own ports are not served through it"}
	}
	if p.cfg.Apps != nil {
		if addr := p.cfg.Apps[port]; addr != "" {
			return addr, nil
		}
		return "", &refusal{403, "no application is known at this port"}
	}
	if dst.Port() != config.InboundPort && dst.Port() != port {
		return "", &refusal{403, "the server name's port is not the one that was dialed"}
	}
	for _, ip := range p.cfg.PodIPs {
		if ip == dst.Addr().Unmap() {
			return netip.AddrPortFrom(ip, port).String(), nil
		}
	}
	return "", &refusal{403, "the address dialed is not one of this pod's"}
}

// application is the cluster of the one endpoint behind addr, which is one of the pod's own addresses.
func (in *inboundPort) application(addr string) *cluster {
	in.mu.Lock()
	defer in.mu.Unlock()
	c := in.apps[addr]
	if c == nil {
		c = lone(addr, addr, in.p.ewmaDefaults())
		c.set.Load().endpoints[0].local = true // nobody else knows it yet
		if in.apps == nil {
			in.apps = map[string]*cluster{}
		}
		in.apps[addr] = c
	}
	return c
}
