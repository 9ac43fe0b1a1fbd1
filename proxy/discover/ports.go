package discover

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/health"
	"github.com/tulle-mesh/tulle/proxy/live"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/route"
)

// maxInboundPorts bounds what a port scan through 4143 can make the proxy subscribe to. The least
// recently used go first, but none behind which an application has answered: a scan must not make
// the proxy forget its policy.
const maxInboundPorts = 256

// Port is one of the workload's own ports: its policy, and the application behind it.
type Port struct {
	d        *Session
	Number   uint16
	key      *api.Key
	answered chan struct{} // closed by destination's first answer
	once     sync.Once
	latest   atomic.Pointer[PortAnswer]
	evicted  atomic.Bool
	admitted live.Set[*admission]

	mu        sync.Mutex                  // guards apps, and is held to change redirects
	apps      map[string]*balance.Cluster // by address: one for each of the pod's IPs at most
	redirects atomic.Pointer[[]string]    // paths that answers to probes led to
}

// Arrival is a connection for the application: from whom, at which port, and who serves it.
type Arrival struct {
	Caller authorize.Caller
	Port   *Port
	App    *balance.Cluster
}

// PortAnswer is what destination says of a port. It is immutable.
type PortAnswer struct {
	*authorize.Policy
	Answer // it names the requests in metrics, and has no clusters
	Limits *authorize.Limits
	Check  *health.Check // nil: none
	// Concurrency bounds the requests under way; nil: nothing does.
	Concurrency *authorize.Concurrency
}

// HTTPOnly reports whether the port takes nothing but HTTP. Who could say something else would be
// within every limit of how often requests may come.
func (a *PortAnswer) HTTPOnly() bool { return a.Limits.Any() || a.Answer.HTTPOnly() }

// admission is a connection that was admitted, and about which nobody is asked again.
type admission struct {
	who authorize.Caller
	end func() // at once; it must not block
}

// Port returns one of the workload's ports, subscribed.
func (d *Session) Port(port uint16) *Port {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.portLocked(port)
}

func (d *Session) portLocked(port uint16) *Port {
	if in, ok := d.inbounds.Get(port); ok {
		return in
	}
	key := &api.Key{Key: &api.Key_InboundPort{InboundPort: uint32(port)}}
	in := &Port{d: d, Number: port, key: key, answered: make(chan struct{})}
	a, _ := d.compileInbound(d.defaultInbound(port)) // nothing in it can fail
	in.latest.Store(a)
	d.inbounds.Add(port, in)
	if d.inbounds.Len() > maxInboundPorts {
		d.evictUnservedLocked()
	}
	d.subscribeLocked(key)
	return in
}

// evictUnservedLocked forgets one port behind which nothing ever answered, and which nobody checks.
// What does answer is bounded by the application.
func (d *Session) evictUnservedLocked() {
	keys := d.inbounds.Keys()
	for _, port := range keys[:len(keys)-1] { // the newest is about to be used
		if in, ok := d.inbounds.Peek(port); ok && !in.served() && in.Now().Check == nil {
			d.inbounds.Remove(port)
			return
		}
	}
}

// served reports whether an application has ever answered at this port.
func (in *Port) served() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, c := range in.apps {
		if c.First().HasAnswered() {
			return true
		}
	}
	return false
}

// Again is the port as it is asked for anew.
func (in *Port) Again() *Port { return in.d.Port(in.Number) }

// Now is the answer of the moment: destination's, or the environment's until there is one.
func (in *Port) Now() *PortAnswer { return in.latest.Load() }

// Gone reports whether the port was forgotten, and is to be asked for anew.
func (in *Port) Gone() bool { return in.evicted.Load() }

// Known reports whether destination has answered.
func (in *Port) Known() bool {
	select {
	case <-in.answered:
		return true
	default:
		return false
	}
}

// defaultInbound is what the environment says, until destination does.
func (d *Session) defaultInbound(port uint16) *api.Inbound {
	m := &api.Inbound{Port: uint32(port), Protocol: api.Protocol_PROTOCOL_DETECT,
		Mode: api.Mode_MODE_PERMISSIVE, DefaultAction: api.Action_ACTION_ALLOW,
		Reach: api.Reach_REACH_DIALED}
	if d.Cfg.Strict {
		m.Mode = api.Mode_MODE_STRICT
	}
	for _, path := range d.Cfg.Probes[port] {
		m.Probes = append(m.Probes, &api.Probe{Path: path})
	}
	if d.Cfg.TLSProbes[port] {
		m.Probes = append(m.Probes, &api.Probe{Tls: true})
	}
	if d.Cfg.OpaquePorts[port] {
		m.Protocol = api.Protocol_PROTOCOL_OPAQUE
	}
	return m
}

// compileInbound turns a message into an answer. What this proxy does not understand makes the
// whole message an error.
func (d *Session) compileInbound(m *api.Inbound) (*PortAnswer, error) {
	pol, err := authorize.Compile(m)
	if err != nil {
		return nil, err
	}
	r, err := route.Compile(
		&api.Route{Resolution: api.Resolution_RESOLUTION_FOUND, Protocol: m.Protocol, Http: m.Http,
			Destination: m.Service},
		d.inboundBudget,
	)
	if err != nil {
		return nil, err
	}
	r.OnlyNames()
	limits, err := d.compileLimits(m)
	if err != nil {
		return nil, err
	}
	concurrency, err := authorize.CompileConcurrency(m.Concurrency,
		func() *metric.Concurrency { return d.Metrics.Concurrency(uint16(m.Port)) })
	if err != nil {
		return nil, err
	}
	check, err := health.Compile(m)
	if err != nil {
		return nil, err
	}
	return &PortAnswer{pol, Answer{Route: r}, limits, check, concurrency}, nil
}

// compileLimits refuses to count what it would carry unread.
func (d *Session) compileLimits(m *api.Inbound) (*authorize.Limits, error) {
	switch m.Protocol {
	case api.Protocol_PROTOCOL_OPAQUE, api.Protocol_PROTOCOL_TLS:
		if len(m.RateLimits) > 0 || m.Concurrency != nil {
			return nil, fmt.Errorf("rate limits, or a limit of concurrency, of a port whose"+
				" protocol is %s", m.Protocol)
		}
	}
	return authorize.CompileLimits(m, route.CompileMatch, d.Limited)
}

func (in *Port) update(a *PortAnswer) {
	was := in.latest.Load()
	after := a.After(was.Policy, time.Now(), in.d.Cfg.Limits.NameGrace)
	in.latest.Store(&PortAnswer{after, a.Answer, a.Limits.After(was.Limits), a.Check,
		a.Concurrency.After(was.Concurrency)})
	if !a.Check.Equal(was.Check) {
		in.d.Checked(in.Number, a.Check)
	}
	in.once.Do(func() { close(in.answered) })
	in.admitted.Each(func(a *admission) {
		if in.Verdict(a.who) != nil {
			a.end()
		}
	})
}

// Admit watches over a connection that was admitted: a policy that no longer allows it ends it. The
// verdict is asked for once more, for the policy may have changed before the port knew the
// connection.
func (in *Port) Admit(who authorize.Caller, end func()) (leave func(), refused *authorize.Refusal) {
	a := &admission{who, end}
	in.admitted.Add(a)
	leave = func() { in.admitted.Remove(a) }
	if refused = in.Verdict(who); refused != nil {
		leave()
	}
	return leave, refused
}

// refuse: destination has no answer for this port. Nobody is admitted, unless there was an answer
// before.
func (in *Port) refuse() {
	if !in.Known() {
		a := in.latest.Load()
		in.update(&PortAnswer{a.Closed(), a.Answer, a.Limits, a.Check, a.Concurrency})
	}
}

// Wait returns the answer, waiting for destination's as long as it may yet come. Before destination
// has ever spoken only the patient wait: the kubelet, whose probes are admitted anyhow, is not.
func (in *Port) Wait(ctx context.Context, patient bool) *PortAnswer {
	if patient || in.d.Status() == nil {
		ctx, cancel := context.WithTimeout(ctx, in.d.Cfg.Limits.DiscoveryWait)
		defer cancel()
		in.d.await(ctx, in.answered)
	}
	return in.latest.Load()
}

// Verdict decides about a caller. Until destination has answered, who may call is not known, and
// nobody from the network may: the environment is as old as the pod, and knows no authorizations.
func (in *Port) Verdict(who authorize.Caller) *authorize.Refusal {
	switch {
	case in.latest.Load().TLSProbe(who):
		return nil
	case in.Known():
		return in.latest.Load().Verdict(who)
	case who.Security == metric.Loopback:
		return nil
	}
	return &authorize.Refusal{
		Status: 503,
		Reason: "destination has not said yet who may call this port",
	}
}

// maxRedirects bounds what answers to probes can open. The kubelet follows no more than ten.
const maxRedirects = 10

// Follow notes where the answer to a probe of a path, which has no query, redirects: the kubelet
// asks there next. What is no path of this port is nobody's to open.
func (in *Port) Follow(path, location string) {
	from, err := url.ParseRequestURI(path)
	if err != nil {
		return
	}
	to, err := from.Parse(location)
	if err != nil || to.Scheme == "https" || to.EscapedPath() == "" {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	var known []string
	if p := in.redirects.Load(); p != nil {
		known = *p
	}
	if next := to.EscapedPath(); len(known) < maxRedirects && !slices.Contains(known, next) {
		known = append(slices.Clone(known), next)
		in.redirects.Store(&known)
	}
}

// Follows reports whether the answer to a probe led to a path.
func (in *Port) Follows(path string) bool {
	known := in.redirects.Load()
	return known != nil && slices.Contains(*known, path)
}

// Application is the cluster of the one endpoint behind addr, which is one of the pod's own
// addresses.
func (in *Port) Application(addr string) *balance.Cluster {
	in.mu.Lock()
	defer in.mu.Unlock()
	c := in.apps[addr]
	if c == nil {
		p := in.d.defaults()
		p.MaxQueue = in.d.Cfg.Limits.MaxQueue
		c = balance.NewCluster(addr, in.d.Attach).Lone(addr, p)
		c.First().Local = true // nobody else knows it yet
		if in.apps == nil {
			in.apps = map[string]*balance.Cluster{}
		}
		in.apps[addr] = c
	}
	return c
}
