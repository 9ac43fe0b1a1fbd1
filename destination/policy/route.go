package policy

import (
	"net"
	"strconv"
	"time"

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
}

// Origin is the object that something was made from.
type Origin struct {
	Group, Kind, Namespace, Name string
}

// Parent is what a route is about: a service by its canonical DNS name.
type Parent struct{ Host string }

// Rule is a class of requests and how they are treated.
type Rule struct {
	Name      string     // within its object
	Match     *api.Match // nil: every request
	Filters   []*api.Filter
	Backends  []Backend // empty: the route's
	Timeout   time.Duration
	Retry     bool
	Hedge     time.Duration // of what may be retried; 0: none
	Responses []*api.ResponseClass
}

// Backend is a share of what a rule matches.
type Backend struct {
	Host   string
	Port   uint16 // 0: the one that the caller asked for
	Weight int64  // relative to the others'
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
