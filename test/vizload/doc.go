// Command vizload runs a real viz with proxies that make their figures up, to look at `meshctl viz`
// without a mesh:
//
//	go run ./test/vizload
//	meshctl viz top --viz-addr 127.0.0.1:PORT
//	meshctl dashboard --viz-addr 127.0.0.1:PORT
//
// The proxies have SVIDs and report over gRPC and mTLS as real ones do; only the traffic behind the
// figures is missing. It listens on loopback and ends with an interrupt.
package main
