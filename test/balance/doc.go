// Command balance shows what each balancer makes of the same load, in a simulation: 100 callers'
// proxies ask one service of 40 endpoints, of which most are fast, some slow, some fail, and some
// start while the load is on. Then some balancers in two zones, as they are and with the callers'
// own zone preferred.
//
//	bin/balance                  tables in Markdown, as docs/balancing.md has them
//	bin/balance -seconds 600     a longer run; one of a few seconds shows how EWMA learns
//
// It exits 3 when a bar is missed: EWMA's p99 must be half of round robin's or less, and no
// balancer may herd, that is give one endpoint more than three times its fair share of any 100 ms'
// requests. Of zones: nothing crosses while each has enough endpoints for its callers, and where
// one has too few p99 is at most three times what it is without a preference.
//
// The picks are those of proxy/balance itself, one cluster for each caller as in real proxies,
// which know nothing of each other. All else is a model: arrivals are a Poisson process, service
// times are exponential, an endpoint has workers and a queue before them. Time is simulated too,
// and random numbers are seeded, so that a run is the same on every machine; how fast a pick is it
// does not say.
//
//	main.go    the flags, the bars and the table
//	mix.go     who is asked, and what for
//	events.go  simulated time
//	server.go  an endpoint
//	caller.go  a proxy and its requests
//	run.go     one run, and what came of it
//	zones.go   two zones
//
// It has no goroutines.
package main
