package main

var (
	oneHTTP1 = shape{hops: oneHop, front: "http1"}
	oneHTTP2 = shape{hops: oneHop, front: "http2"}
	twoHTTP1 = shape{hops: twoHops, front: "http1", middle: "http2"}
	twoHTTP2 = shape{hops: twoHops, front: "http2", middle: "http2"}
)

// saturated is HTTP/2 as fast as it goes: 8 connections of 16 streams.
var saturated = question{path: "/", conns: 8, streams: 16, answer: len(hello), unit: 1}

// quickRows are the two hops of `make bench-quick`.
func quickRows() []row {
	return []row{
		{name: "http1-two", title: "HTTP/1, two hops mTLS, 64 connections", unit: "req", shape: twoHTTP1, work: wrk("/", 64, 1)},
		{name: "http2-two", title: "HTTP/2, two hops mTLS, 8x16 streams", unit: "req", shape: twoHTTP2, work: h2load(saturated)},
	}
}
