// Package balance picks an endpoint of a cluster for a request: the better of two at random, by an
// exponentially decaying mean of their latency times what is pending (Peak EWMA, as in Finagle and
// Linkerd), or as the cluster says. It keeps what is known of an endpoint while the sets that list
// it change, rests one that cannot be dialed, and queues who waits for an endpoint, callers by
// turns.
//
// Where the cluster has outlier detection, its user says how every request went (Judge), and an
// endpoint that fails is ejected for a time: outlier.go judges, ejection.go keeps requests away and
// lets one try whether it is back. bounds.go has the limits of a whole cluster.
//
// It dials nothing and has no goroutines; time is an argument. What its user keeps with an
// endpoint, such as connections, it holds without looking into it. What of a request is hashed it
// says, and does not look at: that is for whoever has one.
//
//	balance.go       clusters, their sets of endpoints, and changes to them
//	ewma.go          the default
//	balancer.go      what a cluster says instead, checked
//	leastrequest.go, roundrobin.go, random.go
//	consistent.go    where a request's hash falls; ring.go and maglev.go are its tables
//	hash.go, key.go  how it is hashed, and what of it
//	weight.go        endpoints that have more than others; slowstart.go, that have less at first
//	place.go         which endpoints come first; tiers.go, what the next ones have, and strain.go,
//	                 when the first ones are slow
//	queue.go         who waits
package balance
