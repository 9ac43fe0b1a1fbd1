// Package destination answers who is behind a name and how to talk to it: one stream per proxy,
// subscriptions to keys, snapshots and then deltas.
//
// A change travels like this:
//
//	kube/, files/, consul/  sources: they read Kubernetes, a directory or a Consul catalog, in the
//	               registry's terms
//	source.go      several of them side by side; freshness.go: how old what they know is
//	registry/      what is known; each change marks the topics that it touches
//	hub.go         one cell per question, which holds the latest answer: recomputed when a topic
//	               that it read is touched, compared, published: losses at once, the rest as
//	               pace.go says
//	answer.go      a question → its answer, out of:
//	  view.go        the registry, read for one mesh
//	  attached.go    which profiles and routes count for a caller of a service
//	  traffic.go     which policies say how it uses the endpoints
//	  resolve.go     a key → what it means to its caller
//	  policy/        what users wrote → what counts for a caller → rules of messages
//	  route.go       → Route
//	  endpoints.go   → Cluster and Endpoints
//	  nearest.go     → those of them that are for the caller's node or zone
//	  subset.go      → and in a subset of a large cluster
//	  inbound.go     → Inbound
//	  config.go      → Config
//	  reports.go     → the status of a policy, which status/ writes back; routereport.go and
//	                 trafficreport.go for routes and BackendTrafficPolicies
//	watcher.go     which cells have changed, for one stream
//	conversation.go  one proxy's stream, from Hello to its end
//	stream.go      what the proxy asks, and says that it holds
//	flusher.go     when to flush it
//	flush.go       what has changed → what the proxy must be sent
//	streamview.go  what the proxy has, and why
//	part.go        what is sent, in messages of bounded size
//	health.go      what proxies say of their applications, told to the registry; check.go says
//	               which of their ports they check, and how
//	relay.go       what this replica hears of that, told to the others; peers.go hears them
//	rejection.go   what proxies say they cannot use
//	standing.go    what proxies made of a policy, told to the registry
//	server.go      gRPC over mTLS: who asks, admission, limits
//
// A proxy has its stream with one replica, and its application's health must count at all of them
// within a second. So each replica has a stream to every other one, which it finds in the registry
// as the pods behind its own Service, and over which it is told what that one hears from its own
// proxies: changes at once, and on a new stream everything. That is as fast as a change of the
// cluster's state, needs no right to write to the API server, and leaves nothing behind there. A
// readiness gate, or slices of our own, would cost a write to the API server for each change and
// the right to write to every pod or namespace, and would be stale when destination is away. What
// no replica hears for api.HealthLifetime is unknown, and the source's answer stands; so it does at
// a replica that begins, until it has heard the others. Health never empties a service: where
// nobody is well all endpoints stay.
//
// The answer to a question is a function of the registry alone, so every replica gives the same
// one, but for a policy's status, in which each speaks of its own proxies. A version is the hash of
// its content. Endpoints are recomputed from all slices of a service on each change, never patched.
// There is one exception: where a service would be left without endpoints only because its
// workloads are not known yet, it keeps those it had.
//
// Nothing can block an informer: an event changes an index under a short lock and leaves a mark.
// There is no queue that could overflow: a slow proxy finds, when it is ready for more, the latest
// answers, and is sent the difference from what it has. A flush costs what has changed, and not
// what is watched. A loss (an endpoint that is gone, not ready or ending; a service, a policy that
// is gone) is published at once and comes first in a flush; what else changes is published
// together while the cluster is busy.
//
// It refuses to believe what a caller says of itself: namespace and service account come from its
// certificate, and its pod's name, attested by identity, counts only while that pod runs that
// account. It never answers before its source has been read completely, for an empty answer would
// end working connections: a proxy that has said Hello waits for that, however long it takes. A
// policy that is invalid although the API server took it (CEL cannot state every rule) counts as
// absent, and its status says so: were its last valid content kept, replicas would disagree.
//
// Goroutines: Destination.Serve owns the source's, the hub's, the standings', the healths', the
// lendings', one for each other replica, the writer of status and the gRPC server's, and waits for
// them. A stream at rest has none. It has one while it receives, and one while it is flushed, which
// its end waits for.
package destination
