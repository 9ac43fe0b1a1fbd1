package serve

import (
	"math"
	"time"

	"github.com/tulle-mesh/tulle/proxy/memory"
)

// Limits are what a server grants its callers. Every field of a gRPC server must be set; plain HTTP
// has no SVIDs and no streams.
type Limits struct {
	// Established connections: in all, of one address, and of one SVID (an ID and the pod that it
	// was issued to). Callers without an SVID are counted by their address alone.
	Connections, PerAddress, PerIdentity int
	// Connections whose TLS handshake is not over: in all, and of one address.
	Handshakes, HandshakesPerAddress int

	Handshake time.Duration // for TLS, and HTTP/2's first frames
	Ask       time.Duration // for a call's first message
	Idle      time.Duration // of a connection without a call
	// Age is when a connection is asked to go, give or take a tenth, so that proxies spread over
	// replicas that came later. Calls that are open then have as long again.
	Age time.Duration

	Streams uint32 // at once, of one connection
	Message int    // bytes of one that is received

	// Base is what the process takes without any caller, and Each what it takes for one connection
	// with its calls, garbage included, in bytes. With GOMEMLIMIT they bound Connections.
	Base, Each int64
}

// Memory is the GOMEMLIMIT that admits so many connections, in bytes.
func (l Limits) Memory(connections int) int64 { return l.Base + int64(connections)*l.Each }

// Admitted is how many connections there can be within GOMEMLIMIT.
func (l Limits) Admitted() int { return l.within(memory.Limit()).Connections }

// within lowers Connections to what memory holds, and the share of an address with it.
func (l Limits) within(limit int64) Limits {
	if limit == math.MaxInt64 || l.Each == 0 {
		return l
	}
	l.Connections = int(max(1, min(int64(l.Connections), (limit-l.Base)/l.Each)))
	l.PerAddress = min(l.PerAddress, l.Connections)
	return l
}

// Bounds that all servers have in common.
const (
	// pingAfter is how long a caller may say nothing before it gets a PING, and how long it may
	// take to answer: a node that vanished says no goodbye.
	pingAfter = 30 * time.Second

	maxHeader = 16 << 10 // of one call
	// window is what may arrive before a handler has read it, of a call and of a connection.
	window = 64 << 10
)
