package policy

import (
	"net"
	"slices"
	"strconv"
	"time"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// Route is what one object says about traffic to its parents.
type Route struct {
	Origin  Origin
	Created time.Time // of the object
	Parents []Parent
	Rules   []Rule    // the first that matches decides
	Default []Backend // for what no rule gives backends; empty: the parent itself
	Budget  *Budget   // nil: the object says none
	Opaque  []crd.PortRange

	// Of routes of the Gateway API, which are closed: what no rule of theirs matches is not found.
	Closed     bool
	Obeyed     bool                        // some rule is obeyed
	Dropped    []crd.Problem               // why others are not
	ParentRefs []gatewayv1.ParentReference // as the object has them, others' too
	Refs       []Ref                       // the backends that rules name, for whatever share
	Extensions []string                    // the FaultInjections of its namespace that rules name
	Unresolved []crd.Problem               // what else rules refer to, and there is none of
}

// Has reports whether a rule has that name.
func (r *Route) Has(rule string) bool {
	return slices.ContainsFunc(r.Rules, func(one Rule) bool { return one.Name == rule })
}

// Origin is the object that something was made from.
type Origin struct {
	Group, Kind, Namespace, Name string
}

// Parent is what a route is about: a service by its canonical DNS name, and of it one port, if any
// is named.
type Parent struct {
	Host     string
	Port     uint16 // 0: whichever
	PortName string // "": whichever
}

// Covers says whether a port of a service is among what the parent means.
func (p Parent) Covers(port Parent) bool {
	return p.Host == port.Host && (p.Port == 0 || p.Port == port.Port) &&
		(p.PortName == "" || p.PortName == port.PortName)
}

// Rule is a class of requests and how they are treated.
type Rule struct {
	Name      string     // within its object
	Match     *api.Match // nil: every request
	Rank      Rank       // of closed routes
	Hostnames []string   // of TLSRoutes, in place of a match
	Filters   []*api.Filter
	Mirrors   []Mirror
	Faults    []Harm
	Backends  []Backend     // empty: the route's
	Timeout   time.Duration // of a request, tries included; 0: none
	Try       time.Duration // of one try; 0: none
	// It says itself how long the two are, and that may be 0.
	OwnTimeout, OwnTry bool

	Retry     *api.Retry // nil: never retried, but for what was surely not delivered
	Hedge     *api.Hedge // of what may be retried; nil: none
	Responses []*api.ResponseClass

	Extensions []string // FaultInjections of the route's namespace, by name
}

// Rank says which of the rules of closed routes comes first: that with the larger number, the first
// number in which they differ.
type Rank [5]int

// Backend is a share of what a rule matches.
type Backend struct {
	Host    string
	Port    uint16 // 0: the one that the caller asked for
	Weight  int64  // relative to the others'
	Filters []*api.Filter
	Mirrors []Mirror
	Answer  uint32 // the status of a fixed answer, in place of a host; 0: none
	Missing uint32 // the status where there is no such service; 0: it has no endpoints
	Unread  bool   // it gets connections, whatever protocol it has
}

// Mirror is a backend that gets copies of some of the requests of a rule, or of another backend: of
// so many as Denominator, Numerator. Its weight and its own filters say nothing.
type Mirror struct {
	Backend
	Numerator, Denominator uint32
}

// Ref is a service's port that a route names as a backend.
type Ref struct {
	Host string
	Port uint16
}

// String is the backend as users write it: web.shop, or web.shop:80.
func (b Backend) String() string {
	if b.Port == 0 {
		return b.Host
	}
	return net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
}

// Budget bounds retries to a share of the requests, plus a floor.
type Budget struct {
	Ratio        float64
	MinPerSecond uint32
	TTL          time.Duration
}
