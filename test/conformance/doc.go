// Command conformance holds the real mesh-proxy binary to the standards, as `make conformance`
// does.
//
// It runs a mesh on loopback: one caller, and behind a proxy of its own each of several servers.
// Whatever it sends goes through two proxies, with mutual TLS and HTTP/2 between them; the inbound
// side is also dialed directly. The parts, a file each:
//
//	h2spec.go       h2spec --strict against the outbound and the inbound server
//	interop.go      grpc-go's interop client and server
//	requests.go     ambiguous HTTP/1 requests, and what the application saw of them
//	responses.go    ambiguous HTTP/1 responses
//	frames.go       ambiguous HTTP/2 requests, as frames
//	misbehave.go    HTTP/2 servers that break the protocol, and what happens to other requests
//	                beside
//	differential.go nginx, Apache, HAProxy, Node and Go read what is forwarded, and must agree
//	                with what was sent
//
// It prints a line per case, and exits 3 if any failed, with those once more at the end. It refuses
// to skip: a tool that is missing is an error.
package main
