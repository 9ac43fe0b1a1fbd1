package registry

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Name is an object's namespace and name. Hosts, nodes and namespaces have no namespace.
type Name = types.NamespacedName

// Object is one thing that a source knows: *Workload, *Service, *Host, *Slice, *Node, *Network,
// *Namespace, *Policy, *Standing or *Health.
type Object interface {
	Key() Name
	meta() *Meta
	updateLocked(r *Registry, owner *Owner, present bool)
}

// Meta is what every object has.
type Meta struct {
	Namespace, Name string
	Labels          Labels
	Annotations     map[string]string // those under tulle.dev/
	Created         time.Time         // zero where the source does not know
}

// Key names the object among those of its kind.
func (m *Meta) Key() Name { return Name{Namespace: m.Namespace, Name: m.Name} }

func (m *Meta) meta() *Meta { return m }

// Workload is one running instance of a program: a pod.
type Workload struct {
	Meta
	UID            string // another instance of the same name has another; may be empty
	Kind, Owner    string // what it is an instance of: "deployment", "web"
	ServiceAccount string
	Node           string
	Addresses      []netip.Addr
	HostNetwork    bool // the addresses are its node's
	HasProxy       bool // a proxy of ours runs in it
	Terminating    bool
	Ended          bool        // for good: its addresses are free for another
	Ports          []NamedPort // that its containers say they listen on
	Probes         []Probe
}

// NamedPort is a TCP port, and what it is called, if it is.
type NamedPort struct {
	Name   string
	Number uint16
}

// Probe is a path and a port at which the kubelet asks how a workload is.
type Probe struct {
	Path string // empty over TLS, in which nobody sees it
	Port uint16
	TLS  bool
}

// Port returns the number of a named port, and 0 where there is none of that name.
func (w *Workload) Port(name string) uint16 {
	for _, p := range w.Ports {
		if p.Name == name && name != "" {
			return p.Number
		}
	}
	return 0
}

// Declares says whether the workload's containers say that they listen on a port.
func (w *Workload) Declares(number uint16) bool {
	return slices.ContainsFunc(w.Ports, func(p NamedPort) bool { return p.Number == number })
}

// Service is a name, and maybe virtual addresses, for endpoints.
type Service struct {
	Meta
	Addresses  []netip.Addr
	Outer      []netip.Addr // others', a load balancer's say, that lead to it by its ports
	PreferIPv6 bool         // of an endpoint that has both
	External   bool         // it stands for the DNS name Alias, and has no endpoints of its own
	Alias      string       // in lower case, without a dot at the end
	NodeLocal  bool         // each caller is given the endpoints on its own node only
	Selected   bool         // the workloads behind it are those whose labels contain Selector
	Selector   Labels
	Ports      []ServicePort
	// Its source knows endpoints and no ports: each endpoint has its own, whichever its caller
	// names. Ports then holds the one that policies know it by.
	AnyPort bool
}

// Selects says whether the service is in front of a workload by its labels.
func (s *Service) Selects(w *Workload) bool {
	return s.Selected && s.Namespace == w.Namespace && w.Labels.Contains(s.Selector)
}

// ServicePort is a TCP port of a service. Ports of other protocols are not kept.
type ServicePort struct {
	Name        string
	Number      uint16
	Target      NamedPort // of the workloads, by one of the two
	AppProtocol string    // empty where nobody said
}

// TargetOf returns the port of a workload that the service's port leads to, and 0 for none.
func (p *ServicePort) TargetOf(w *Workload) uint16 {
	return cmp.Or(p.Target.Number, w.Port(p.Target.Name))
}

// Port returns the service's port of that number, or nil. Where each endpoint has its own, every
// number is the service's one port.
func (s *Service) Port(number uint16) *ServicePort {
	if s.AnyPort {
		return &s.Ports[0]
	}
	for i := range s.Ports {
		if s.Ports[i].Number == number {
			return &s.Ports[i]
		}
	}
	return nil
}

// PortNamed returns the number of the service's port of that name, and 0 where there is none.
func (s *Service) PortNamed(name string) uint16 {
	for i := range s.Ports {
		if s.Ports[i].Name == name {
			return s.Ports[i].Number
		}
	}
	return 0
}

// Host is a DNS name for a service, beside the one that its namespace and name make. The object's
// name is the DNS name, in lower case and without a dot at the end; it has no namespace.
type Host struct {
	Meta
	Service Name
}

// Family is the kind of address that a slice holds.
type Family uint8

// The families of addresses. Endpoints of another are not connected to.
const (
	OtherFamily Family = iota
	IPv4
	IPv6
)

// Slice is a part of a service's endpoints, all of one family and with the same ports.
type Slice struct {
	Meta
	Service   Name
	Family    Family
	Ports     []NamedPort // the targets' ports, by the names of the service's
	Target    uint16      // or, in place of them, the one to which every port of the service leads
	Endpoints []Endpoint
}

// Port returns the target of the service's port of that name.
func (s *Slice) Port(name string) (number uint16, ok bool) {
	if s.Target != 0 {
		return s.Target, true
	}
	for _, p := range s.Ports {
		if p.Name == name {
			return p.Number, true
		}
	}
	return 0, false
}

// At returns the endpoint with an address, or nil.
func (s *Slice) At(addr netip.Addr) *Endpoint {
	for i := range s.Endpoints {
		if s.Endpoints[i].Address == addr {
			return &s.Endpoints[i]
		}
	}
	return nil
}

// Endpoint is one address behind a service.
type Endpoint struct {
	Address     netip.Addr // not valid where the source's is no IP address
	Hostname    string     // the name under the service's by which it can be chosen
	Node, Zone  string
	Region      string
	Weight      uint32 // 0: as much as most
	Ready       bool
	Serving     bool // ready, but that it may be terminating
	Terminating bool
	Workload    Name   // which has the address; its name is empty where the source names none
	WorkloadUID string // may be empty
	Hints       *Hints // nil: the endpoint is for all callers
	Mesh        *Mesh  // nil: the source knows of no proxy but a workload's
}

// Mesh is where an endpoint's proxy takes what is for it, and the SPIFFE ID that it must prove.
type Mesh struct {
	Address  netip.AddrPort
	Identity string
}

// Hints say whose callers an endpoint is for: those in its zones, or on its nodes. They are the
// source's choice where a service asks for endpoints near its callers.
type Hints struct{ Zones, Nodes []string }

// Nearness is what of a caller it depends on which endpoints of a service are for it.
type Nearness uint8

// Of nothing, its zone, or its node and its zone.
const (
	Anywhere Nearness = iota
	SameZone
	SameNode
)

// nearness is by what the slice's endpoints have hints. Many have the same, and few slices have
// any.
func (s *Slice) nearness() (near Nearness) {
	if s == nil {
		return Anywhere
	}
	for i := range s.Endpoints {
		switch hints := s.Endpoints[i].Hints; {
		case hints == nil:
		case len(hints.Nodes) > 0:
			return SameNode
		default:
			near = SameZone
		}
	}
	return near
}

// Node is a machine.
type Node struct {
	Meta
	Addresses []netip.Addr
	Networks  []netip.Prefix // of its workloads
}

// Network is addresses that are given to services, and to nothing else.
type Network struct {
	Meta
	Prefixes []netip.Prefix
}

// Namespace is a set of names, whose annotations hold for what is in it.
type Namespace struct{ Meta }

// Policy is what a user wrote about traffic: an object of one of our kinds.
type Policy struct {
	Meta
	Kind       string
	Generation int64  // counts the edits
	Problem    string // why the policy cannot be used, or ""
	Body       any    // of the kind's own type, such as *crd.ServiceProfile
	// The services that it is attached to, where its kind says so by reference. One without a name
	// stands for all of its namespace. Other policies are named as PolicyRef.Target says.
	Targets []Name
	Uses    []PolicyRef // the policies that it refers to

	// Reported is what the object says of itself already, where its source keeps that.
	Reported Status
}

// Status is what a policy's object tells its user.
type Status struct {
	Conditions []metav1.Condition
	Counts     map[string]int32 // by field, such as routes
	// of a policy that is attached by reference: what the mesh says of it at each of the objects
	// that it names, which are a route's parents
	Parents []gatewayv1.RouteParentStatus
}

// Standing is what proxies made of a policy, as far as this replica hears them, or is told.
type Standing struct {
	Meta
	Kind       string
	Proxies    int // which were sent something that was made from the policy
	Rejected   int // how many of them cannot use it
	Rejections []Rejection
}

// Rejection is one proxy's word on why it cannot use a policy.
type Rejection struct {
	Pod    Name
	Reason string
}

// Target is what stands for the policy among the targets of others. No service has such a name.
func (r PolicyRef) Target() Name {
	return Name{Namespace: r.Name.Namespace, Name: r.Kind + "/" + r.Name.Name}
}

// Services are those of its targets that are one service each.
func (p *Policy) Services() (out []Name) {
	for _, target := range p.Targets {
		if target.Name != "" && !strings.Contains(target.Name, "/") {
			out = append(out, target)
		}
	}
	return out
}

// Ref names the policy.
func (s *Standing) Ref() PolicyRef { return PolicyRef{Kind: s.Kind, Name: s.Key()} }

// PolicyRef names a policy among all kinds of them.
type PolicyRef struct {
	Kind string
	Name Name
}

// Ref names the policy.
func (p *Policy) Ref() PolicyRef { return PolicyRef{Kind: p.Kind, Name: p.Key()} }
