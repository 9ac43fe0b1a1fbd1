// Package proxy is the data plane: the sidecar that carries a workload's calls.
//
// A request's path is the files' names, in this order:
//
//	accept.go     listeners; where a connection was meant to go
//	detect        (a package) HTTP/1, HTTP/2, TLS or opaque, by its first bytes
//	identify.go   this proxy's SVID; mTLS with peers, whose IDs it verifies
//	authorize.go  who may reach the application's ports, and which ports there are
//	discover.go   what destination says, kept for as long as it is away
//	route.go      request to rule: backends, timeouts, retries, classes of response
//	balance.go    backend to endpoint: power of two choices over EWMA (ewma.go)
//	forward       exchange.go and attempt.go join the two streams of a request; forward_tcp.go and tunnel.go join opaque
//	              connections (leg.go, flow.go: a side, a direction); pool.go holds the connections to endpoints, queue.go
//	              who waits for them; http.go, headers.go and head.go say what is passed on and kept, translate.go in which
//	              protocol
//	record.go     the outcome, exactly once; report.go sends it to viz
//	recycle.go    whose memory it was in serves the next
//
// What was cut is never passed on as an end: a reset, or TLS without its alert, reaches the other side as a reset.
//
// silence.go waits with a connection on which nobody has spoken; life.go ends what a certificate, a root or a policy no
// longer vouches for; callers.go bounds what strangers' addresses cost; breach.go counts who broke a protocol; package timer has
// the deadlines, budget.go the retries' bound, package memory the memory's, which crowd.go gives back; proxy.go starts and drains
// it all.
//
// It does not read Kubernetes, keep anything on disk, or use net/http. It refuses to reach a
// meshed endpoint in plaintext, to guess at an address inside the cluster that destination does not answer for, and to
// dial for a caller anything but this pod's own addresses.
//
// # Goroutines and locks
//
// Run owns every goroutine and waits for all of them. A connection's goroutine finds out what it is; what is HTTP it hands
// over to the loops of package wire, on which readers have their turns. A reader never waits: what it forwards goes into
// the peer connection's bounded output, and flushqueue.go sends what all have written in a round.
//
// An exchange has one lock; a pool's comes after it, a connection's after that, and two connections' are never held
// together. Nothing calls into an exchange with a pool's or a connection's lock held, nor with discovery's, which an exchange
// takes: what a change of endpoints leads to is collected (change, in balance.go) and applied after.
//
// # An exchange's phases
//
//	new       → waiting, ended
//	waiting   → waiting, trying, backoff, ended
//	trying    → waiting, backoff, answering, ended
//	backoff   → waiting, ended
//	answering → ended
//	ended     →
//
// A new exchange is admitted and its first try waits for an endpoint, a connection and a stream; or it ends with an answer of
// ours. The try is then with a backend. If that fails, or cannot be asked, the next one waits, after a backoff where it would be
// at the same endpoint. The first final head is the caller's, and no other try follows. phase.go has the one place that changes
// a phase, and the one timer that belongs to it.
//
// # Words
//
//	exchange  a request and its response
//	try       one attempt at a backend to have the request answered
//	caller    who is at the other end of a connection that the proxy serves; a peer is any other end
//	target    where a caller's request is meant to go, and what destination says of that
//	cluster   a set of endpoints behind one name; an endpoint is one of them
//	held      of a body: kept by the stream that it goes out on, for its peer takes no more
//	kept      of a request: what has come of it, for it may have to be sent again
//	credit    a window that is given back to whoever sent what has left; refunded is what had it back
//	spent     of an exchange: ended, and known to nobody, so that its memory serves another
//
// # Where it differs from the design
//
// A third header of ours, tulle-proto, travels between proxies: the inbound side must know that a request was HTTP/1, or
// is for an application that declares it, to restore it. The inbound port is dialed itself and the server name says the
// target port; where a connection to another port was redirected, the two must agree.
package proxy
