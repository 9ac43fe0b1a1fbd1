package outcome

// Reason is why something did not go plainly well: one word out of a closed list, the same wherever
// it is shown. What a backend answers by itself has none, whatever its status.
type Reason uint8

// The reasons.
const (
	Plain          Reason = iota // there is none
	NoRoute                      // nothing is known by the destination's name or address
	NoEndpoints                  // no backend, or none that is ready
	QueueFull                    // too many wait already
	QueueTimeout                 // no connection came free in time
	ConnectFailed                // the endpoint could not be connected to
	RefusedStream                // the backend takes no requests; nothing of this one was processed
	ResetByPeer                  // the backend broke off
	RequestTimeout               // the whole request took too long
	TryTimeout                   // one try did, and there is no other
	IdleTimeout                  // a body, or an opaque connection, did not move for too long
	ClientGone                   // the caller went away
	Denied                       // the caller may not do this
	BadRequest                   // the backend's protocol has no words for it
	HeaderTooLarge               // a head is more than its receiver takes
	Overload                     // the proxy itself has no room for it
	RouteAnswer                  // the route answers an error, and asks nobody
	ClusterLimit                 // a limit of the cluster's
	RateLimited                  // the caller asks more often than a rate limit admits
	FaultInjected                // so does a fault, on purpose
	reasons
)

var reasonNames = [reasons]string{
	"", "no_route", "no_endpoints", "queue_full", "queue_timeout", "connect_failed",
	"refused_stream", "reset_by_peer", "request_timeout", "try_timeout", "idle_timeout",
	"client_gone", "denied", "bad_request", "header_too_large", "overload",
	"route_answer", "cluster_limit", "rate_limited", "fault_injected",
}

func (r Reason) String() string {
	if r >= reasons {
		return "unknown"
	}
	return reasonNames[r]
}
