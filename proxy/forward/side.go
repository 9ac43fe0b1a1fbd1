package forward

import (
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/route"
)

// side is what differs between the two directions that a proxy serves: toApplication and toMesh.
type side interface {
	// admit finds where a request goes, and says why it is not served. With a refusal the answer
	// still names the metrics.
	admit(x *exchange) (*discover.Answer, *authorize.Refusal)
	// choose picks the backend, and its cluster; nil: no backend has any weight.
	choose(a *discover.Answer, u *route.Rule) (*route.Backend, *balance.Cluster)
	// authority is what a request is for that does not say so.
	authority() string
	// callerID is the caller's verified SPIFFE ID, for the application; empty: there is none.
	callerID() string
	// peer reports whether the caller is a proxy.
	peer() bool
	// stranger reports whether the caller is neither a proxy nor the pod's own application.
	stranger() bool
	// address is where a caller without an identity calls from, for the application; empty: nobody
	// asks.
	address() string
	// doubted reports whether such a caller is not believed what it says of its own callers.
	doubted() bool
	// explains reports whether the caller may be told the mesh's reasons.
	explains() bool
	// declared is what the services in front of e call its protocol.
	declared(x *exchange, e *balance.Endpoint) api.Protocol
	// probed reports whether a request is the kubelet's.
	probed(x *exchange) bool
	// redirected takes where an answer sent the caller of x.
	redirected(x *exchange, location string)
	// cells are where cells are remembered of requests that e answered, or nobody.
	cells(c *ServerConn, e *balance.Endpoint) *cellCache
	// labels tell the cell of x's rule at e; e is nil where no endpoint was reached.
	labels(x *exchange, e *balance.Endpoint) metric.Labels
	// farBytes are those that came from the other end of the mesh, and that went there.
	farBytes(x *exchange) (read, written uint64)
	// count counts the connection for as long as it lives; the returned function ends it.
	count(c *ServerConn) (end func())
}
