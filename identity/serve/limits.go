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
	pingAfter   = 30 * time.Second // of silence: a node that vanished says no goodbye
	pingTimeout = 10 * time.Second
	minPing     = 10 * time.Second // a client that pings more often is cut off; ours do each 30 s

	maxHeader = 16 << 10 // of one call
	// window is what may arrive before a handler has read it, of a stream and of a connection.
	// grpc-go would let it grow to 16 MiB for whoever sends fast.
	window = 64 << 10
	// readBuffer is kept by every connection, which says little; grpc-go's own is 32 KiB.
	readBuffer = 4 << 10
	// writeBuffer is a connection's while it has something to say, and a change may give all of
	// them something to say at once. grpc-go's own is 32 KiB: 320 MB of 10,000 connections.
	writeBuffer = 4 << 10
)
