// Package destination answers who is behind a name and how to talk to it: one stream per proxy, subscriptions to keys,
// snapshots and then deltas.
//
//	source.go    where cluster state comes from: Kubernetes (kubernetes.go) or watched files (files.go)
//	state.go     what is known of the cluster, indexed; who changed it says which topics that touched
//	view.go      a reading of the state that remembers the topics it read
//	resolve.go   a key → what it means to its caller
//	route.go     → Route      cluster.go → Cluster      endpoints.go → Endpoints      inbound.go → Inbound
//	hub.go       one latest-wins cell per question: recomputed when a topic it read was touched, compared, published
//	stream.go    one proxy's stream: its keys, what it holds, what it must be sent
//	server.go    gRPC over mTLS: who asks, admission, limits
//	status.go    writes a ServiceProfile's Accepted condition
//
// The answer to a question is a pure function of the state, so every replica gives the same one, and its version is the
// hash of its content. Endpoints are recomputed from all slices of a service on each change, never patched.
//
// Nothing can block an informer: an event changes an index under a short lock and leaves a mark. There is no queue that
// could overflow: a slow proxy finds, when it is ready for more, the latest state, and is sent the difference from what
// it has.
//
// It refuses to believe what a caller says of itself: namespace and service account come from its certificate, and its
// pod's name, attested by identity, counts only while that pod runs that account. It never answers before its source has
// been read completely, for an empty answer would end working connections.
//
// Where this differs from the design: a profile that is invalid although the API server took it (a rule that CEL cannot
// state) counts as absent and says so in its status. Keeping its last valid content instead would make replicas disagree.
//
// Goroutines: Destination.Run owns the source's, the hub's and the gRPC server's, and waits for them. A stream has
// two, its handler's and its reader's, and both end with it.
package destination
