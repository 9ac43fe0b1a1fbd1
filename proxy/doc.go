// Package proxy is the data plane: the sidecar that carries a workload's calls.
//
// A request's path is the order of these packages and files:
//
//	accept.go    listeners; where a connection was meant to go
//	detect       HTTP/1, HTTP/2, TLS or opaque, by the first bytes
//	identify.go  this proxy's SVID; mTLS with peers, whose IDs are verified
//	authorize    who may reach the application's ports, and which ports there are
//	discover     what destination says, kept for as long as it is away
//	route        request to rule: backends, filters, timeouts, retries, classes of response
//	balance      backend to endpoint: power of two choices over EWMA, or as the cluster says
//	forward      joins the two streams of a request, over h1 and h2; header has our own fields
//	tunnel       joins opaque connections
//	outcome      how a request ended, counted exactly once in a cell of package metric's
//	record       sends those to viz, and writes the access log
//	otlp         makes spans of requests, and exports them; trace says of which
//	health       asks the application whether it is well, apart from requests
//
// This package assembles them, and has what they share: proxy.go starts and drains it all;
// certlife.go ends what a certificate, a root or a policy no longer vouches for; trim.go gives
// memory back; keepalive.go finds peers that vanished; tracing.go has the tracer; package timer has
// the deadlines, memory the memory's bound, live the sets of what is open, admin the operator's
// port, and config every constant.
//
// What was cut is never passed on as an end: a reset, or TLS without its alert, reaches the other
// side as a reset.
//
// It does not read Kubernetes, keep anything on disk, or use net/http. It knows no bytes of HTTP or
// of any protocol over TCP: the engines do. It refuses to reach a meshed endpoint in plaintext, to
// guess at an address inside the cluster that destination does not answer for, and to dial for a
// caller anything but this pod's own addresses.
//
// # Goroutines
//
// Run owns every goroutine and waits for all of them. A connection's goroutine finds out what it
// is; what is HTTP it hands over to the loops of package wire, on which readers have their turns;
// what is opaque it carries itself.
//
// # Words
//
//	exchange  a request and its response
//	try       one attempt at a backend to have the request answered
//	caller    who is at the other end of a connection that the proxy serves; a peer: any other end
//	target    where a caller's request is meant to go, and what destination says of that
//	cluster   a set of endpoints behind one name; an endpoint is one of them
//	held      of a body: kept by the stream that it goes out on, for its peer takes no more
//	kept      of a request: what has come of it, for it may have to be sent again
//	credit    a window that is given back to whoever sent what has left; refunded: what had it
//	spent     of an exchange: ended, and known to nobody, so that its memory serves another
//
// # Between two proxies
//
// A third header of ours, tulle-proto, travels between proxies: the inbound side must know that a
// request was HTTP/1, or is for an application that declares it, to restore it. The inbound port is
// dialed itself and the server name says the target port, one that destination says may be chosen
// so; where a connection to another port was redirected, the two must agree.
package proxy
