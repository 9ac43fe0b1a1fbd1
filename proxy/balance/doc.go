// Package balance picks an endpoint of a cluster for a request: the better of two at random, by an
// exponentially decaying mean of their latency times what is pending (Peak EWMA, as in Finagle and
// Linkerd). It keeps what is known of an endpoint while the sets that list it change, rests one
// that cannot be dialed, and queues who waits for an endpoint, callers by turns.
//
// Where the cluster has outlier detection, its user says how every request went (Judge), and an
// endpoint that fails is ejected for a time: outlier.go judges, ejection.go keeps requests away and
// lets one try whether it is back. bounds.go has the limits of a whole cluster.
//
// It dials nothing and has no goroutines; time is an argument. What its user keeps with an
// endpoint, such as connections, it holds without looking into it.
package balance
