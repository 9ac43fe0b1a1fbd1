package destination

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// inbound answers how a port of the caller's own pod takes connections. Without a pod (its name is
// empty: none was attested) only the namespace speaks.
func (v *view) inbound(port uint32, name registry.Name) (*api.Inbound, error) {
	if port == 0 || port > 65535 {
		return nil, fmt.Errorf("inbound port %d must be 1 to 65535", port)
	}
	w := v.Workload(name)
	if w == nil {
		w = &registry.Workload{Meta: registry.Meta{Namespace: name.Namespace}}
	}
	out := &api.Inbound{
		Port: port, Protocol: api.Protocol_PROTOCOL_DETECT, Mode: v.modeOf(w),
		DefaultAction: api.Action_ACTION_ALLOW, Probes: probes(w, uint16(port)),
		Reach: api.Reach_REACH_DIALED,
	}
	if v.isNamed(w, uint16(port)) {
		out.Reach = api.Reach_REACH_CHOSEN
	}
	fronts := v.portsBefore(w.Key(), uint16(port))
	v.inboundService(out, fronts)
	if v.workloadOpaque(w, uint16(port)) {
		out.Protocol = api.Protocol_PROTOCOL_OPAQUE
	}
	if mayBeHTTP(out.Protocol) {
		out.RateLimits, out.Lendings = v.rateLimits(fronts)
		out.Concurrency = v.concurrency(fronts)
	}
	out.HealthCheck = v.checkOf(fronts)
	return out, nil
}

// inboundService takes what the services in front of the port say: of several, the first by name,
// but a port that one of them calls opaque is.
func (v *view) inboundService(out *api.Inbound, fronts []frontPort) {
	for _, front := range fronts {
		p := v.policy(front.service, front.port, front.service.Namespace)
		protocol := v.protocolOf(front.service, front.port, p)
		if out.Service != nil {
			if protocol == api.Protocol_PROTOCOL_OPAQUE {
				out.Protocol = protocol
			}
			continue
		}
		out.Protocol = protocol
		out.Service = &api.Metadata{Namespace: front.service.Namespace, Service: front.service.Name}
		out.Http = p.Named()
	}
}

// mayBeHTTP reports whether proxies read what a port carries. What they do not read they do not
// count.
func mayBeHTTP(p api.Protocol) bool {
	return p != api.Protocol_PROTOCOL_OPAQUE && p != api.Protocol_PROTOCOL_TLS
}

// concurrency is the bound on the requests under way at a workload's port: of the services in front
// of it, the first by name of which something is said.
func (v *view) concurrency(fronts []frontPort) *api.Concurrency {
	for _, front := range fronts {
		use := v.use(front.service, front.port, front.service.Namespace)
		if use != nil && use.Concurrency != nil {
			v.used = append(v.used, refOf(use.Bounder))
			return use.Concurrency
		}
	}
	return nil
}

// isNamed says whether a workload's containers, or a service in front of it, name a port. Only such
// a port is reached through the proxy's inbound port: a NetworkPolicy sees no other, and whoever
// allowed that one meant the workload's services and not whatever else listens there.
func (v *view) isNamed(w *registry.Workload, port uint16) bool {
	return w.Declares(port) || len(v.portsBefore(w.Key(), port)) > 0 || v.isSelected(w, port)
}

// isSelected says whether a service leads to the port by the workload's labels. That is known
// before the slices are, by which callers come: of these another replica may know sooner.
func (v *view) isSelected(w *registry.Workload, port uint16) bool {
	return slices.ContainsFunc(v.ServicesIn(w.Namespace), func(svc *registry.Service) bool {
		return svc.Selects(w) &&
			slices.ContainsFunc(svc.Ports, func(p registry.ServicePort) bool {
				return p.TargetOf(w) == port
			})
	})
}

// frontPort is a service's port that leads to a workload's.
type frontPort struct {
	service *registry.Service
	port    *registry.ServicePort
}

// portsBefore returns the ports that lead to a workload's, one of each service. A workload without
// a name has none.
func (v *view) portsBefore(workload registry.Name, number uint16) []frontPort {
	var out []frontPort
	seen := map[registry.Name]bool{}
	for _, slice := range v.SlicesOf(workload) {
		svc := v.Service(slice.Service)
		if svc == nil || seen[svc.Key()] {
			continue
		}
		for i := range svc.Ports {
			port := &svc.Ports[i]
			if n, ok := slice.Port(port.Name); ok && n == number && !seen[svc.Key()] {
				seen[svc.Key()] = true
				out = append(out, frontPort{svc, port})
			}
		}
	}
	slices.SortFunc(out, func(a, b frontPort) int {
		return cmp.Compare(a.service.Name, b.service.Name)
	})
	return out
}

// probes returns the paths at which the kubelet, which has no certificate, asks on this port.
func probes(w *registry.Workload, port uint16) []*api.Probe {
	var out []*api.Probe
	for _, p := range w.Probes {
		if p.Port == port {
			out = append(out, &api.Probe{Path: p.Path, Tls: p.TLS})
		}
	}
	return out
}
