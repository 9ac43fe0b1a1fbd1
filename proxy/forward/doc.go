// Package forward carries HTTP requests: from the application to the mesh (outbound.go), and from
// the mesh or anyone else to the application (inbound.go); side.go says what differs between the
// two.
//
// A request's way through it, by file:
//
//	serverconn.go  the caller's connection; engine.go runs its protocol, HTTP/1 or HTTP/2
//	exchange.go    a request and its response; phase.go says how far it has come
//	fault.go       delays and errors on purpose
//	fields.go      which header fields are passed on; head.go, for how long they are kept
//	sticky.go      what of a request a consistent hash goes by
//	attempt.go     one try at a backend; retry.go, whether there is another; pause.go, when
//	deadline.go    what time a request has, and who is told of it
//	live.go        the tries that are under way
//	hedge.go       a second try beside one that is slow
//	abandon.go     a try that is left, wherever it is
//	judge.go       how a try went, for the endpoint's outlier detection
//	bounds.go      the limits of a whole cluster
//	overload.go    what there is no room for
//	mirror.go      a copy of a request, which nobody waits for
//	translate.go   which protocol the application is spoken to in
//	pool.go        the connections to an endpoint, and which tries wait for one
//	stall.go       peers that take nothing, and bodies that stop arriving
//	reply.go       answers of ours; grpc.go, how a gRPC caller is told
//	record.go      the outcome, counted exactly once
//	batch.go       flushes each connection once for all that one read has brought
//	flushqueue.go  the same for all readers together
//	recycle.go     gives an exchange's memory to the next one
//
// It accepts nothing and has no TLS of its own: whoever uses it hands over connections that are
// known to be HTTP, and dials for it. It does not decide who may call (package authorize), where to
// (package route), or which endpoint is best (package balance). It never reaches a meshed endpoint
// in plaintext.
//
// # Goroutines and locks
//
// A Forwarder starts goroutines for dials only; they are counted in Options.Tasks, and the end of
// Options.Ctx ends them. All else happens in the turns of package wire's readers and in package
// timer's wheel. A reader never waits: what it forwards goes into the peer connection's bounded
// output, and flushqueue.go sends what all have written in a round.
//
// An exchange has one lock; a mirror's comes after it, then a pool's, then a connection's, and two
// connections' are never held together. Nothing calls into an exchange with a pool's or a
// connection's lock held, nor with package discover's: what a change of endpoints leads to is
// collected (balance.Change), and Apply is called after.
//
// # What is refused first
//
// A proxy that is short of memory refuses, in this order,
//
//	from memory.Tight on  copies of requests, and second tries: retries and hedges
//	from memory.Short on  requests of callers without an identity
//	from memory.Full on   every request, and opaque connections
//
// and none of the kubelet's probes, for a pod that does not answer is killed, and its load goes to
// the next one. From memory.Short on slow callers are cut, and each makes room for two requests
// (relief.go). While none of this is so, it costs a request one look at the level. What an
// application has no room for is refused before that: package authorize finds its limit.
//
// # An exchange's phases
//
//	new       → delayed, waiting, ended
//	delayed   → waiting, ended
//	waiting   → waiting, trying, backoff, ended
//	trying    → waiting, hedging, backoff, answering, ended
//	hedging   → waiting, trying, answering, ended
//	backoff   → waiting, ended
//	answering → ended
//	ended     →
//
// A new exchange is admitted and its first try waits for an endpoint, a connection and a stream; or
// it ends with an answer of ours. A fault may hold it back before that. The try is then with a
// backend. If that fails, or cannot be asked, the next one waits, after a backoff where it would be
// at the same endpoint. Beside a try that is slow there may be another, a hedge; if one of the two
// fails, the other goes on. The first final head is the caller's, and no other try follows.
// phase.go has the one place that changes a phase, and the one timer that belongs to it.
package forward
