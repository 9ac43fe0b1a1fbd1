package main

import "fmt"

// saturated is HTTP/2 as fast as it goes.
var saturated = question{path: "/", conns: 8, streams: 16, answer: len(hello), unit: 1}

// fixedRate is about half of what two hops of the slower peers carry, in requests/s.
const fixedRate = 4000

const bodyMB = float64(bodySize) / 1e6

// places are the two that everything is measured in.
var places = []struct {
	name, title string
	hops        hops
}{{"one", "one hop", oneHop}, {"two", "two hops mTLS", twoHops}}

// quickRows are the two hops of `make bench-quick`.
func quickRows() []row { return httpRows("two", "two hops mTLS", twoHops) }

func httpRows(place, title string, h hops) []row {
	return []row{
		{name: "http1-" + place, title: "HTTP/1, " + title + ", 64 connections", unit: "req",
			shape: shape{hops: h, front: "http1", middle: "http2"}, work: wrk("/", 64, 1)},
		{name: "http2-" + place, title: "HTTP/2, " + title + ", 8x16 streams", unit: "req",
			shape: shape{hops: h, front: "http2", middle: "http2"}, work: h2load(saturated)},
	}
}

// allRows are the rows of `make bench`, but for what memory.go weighs.
func (a *apps) allRows() (rows []row) {
	for _, p := range places {
		rows = append(rows, httpRows(p.name, p.title, p.hops)...)
		rows = append(rows, a.grpcRows(p.name, p.title, p.hops)...)
		rows = append(rows, a.bodyRows(p.name, p.title, p.hops)...)
		rows = append(rows, row{name: "tcp-" + p.name,
			title: "TCP bulk, " + p.title + ", 2 connections each way", unit: "MB",
			shape: shape{hops: p.hops, front: "tcp", middle: "tcp"}, work: bulk})
	}
	rows = append(rows, policyRow())
	rows = append(rows, seenRows()...)
	rows = append(rows, row{name: "churn", title: "Handshakes: TCP, full mutual TLS 1.3, " +
		"one HTTP/2 request, close; callee's proxy alone", unit: "conn",
		shape: shape{hops: tlsHop, front: "http2", middle: "http2"}, work: churn})
	return append(rows, a.rateRows()...)
}

func (a *apps) grpcRows(place, title string, h hops) []row {
	s := shape{hops: h, front: "grpc", middle: "http2"}
	unary, stream := grpcQuestion(grpcUnary, a.message), grpcQuestion(grpcStream, a.message)
	unary.answer, unary.unit = a.messageSize, 1
	stream.answer, stream.unit = grpcMessages*a.messageSize, grpcMessages
	return []row{
		{name: "grpc-unary-" + place, title: "gRPC unary, " + title + ", 8x16 streams",
			unit: "call", shape: s, work: h2load(unary)},
		{name: "grpc-stream-" + place, title: fmt.Sprintf(
			"gRPC streaming, %s, 8x16 streams, %d messages a call", title, grpcMessages),
			unit: "msg", shape: s, work: h2load(stream)},
	}
}

func (a *apps) bodyRows(place, title string, h hops) []row {
	http1 := shape{hops: h, front: "http1", middle: "http2", reason: true}
	http2 := shape{hops: h, front: "http2", middle: "http2"}
	get := question{path: "/1m", conns: 4, streams: 4, answer: bodySize, unit: bodyMB}
	post1 := question{path: "/up", args: []string{"--h1", "-d", a.body}, conns: 16, streams: 1,
		answer: len(taken), unit: bodyMB}
	post2 := question{path: "/up", args: []string{"-d", a.body}, conns: 4, streams: 4,
		answer: len(taken), unit: bodyMB}
	return []row{
		{name: "http1-down-" + place, title: "1 MiB answers, HTTP/1, " + title + ", 16 connections",
			unit: "MB", shape: http1, work: wrk("/1m", 16, bodyMB)},
		{name: "http2-down-" + place, title: "1 MiB answers, HTTP/2, " + title + ", 4x4 streams",
			unit: "MB", shape: http2, work: h2load(get)},
		{name: "http1-up-" + place, title: "1 MiB uploads, HTTP/1, " + title + ", 16 connections",
			unit: "MB", shape: http1, work: h2load(post1)},
		{name: "http2-up-" + place, title: "1 MiB uploads, HTTP/2, " + title + ", 4x4 streams",
			unit: "MB", shape: http2, work: h2load(post2)},
	}
}

// rateRows have h2load send at a fixed rate: it does so in bursts, and a request's time begins when
// it is sent.
func (a *apps) rateRows() []row {
	const title = "%s at %d/s, two hops mTLS"
	http1 := question{path: "/", args: []string{"--h1"}, conns: 64, streams: 1, rps: fixedRate,
		answer: len(hello), unit: 1}
	http2 := question{
		path: "/", conns: 16, streams: 16, rps: fixedRate, answer: len(hello), unit: 1,
	}
	unary := grpcQuestion(grpcUnary, a.message)
	unary.conns, unary.rps, unary.answer, unary.unit = 16, fixedRate, a.messageSize, 1
	return []row{
		{name: "http1-rate", title: fmt.Sprintf(title, "HTTP/1", fixedRate), unit: "req",
			shape: shape{hops: twoHops, front: "http1", middle: "http2", reason: true},
			work:  h2load(http1), fixed: true},
		{name: "http2-rate", title: fmt.Sprintf(title, "HTTP/2", fixedRate), unit: "req",
			shape: shape{hops: twoHops, front: "http2", middle: "http2"},
			work:  h2load(http2), fixed: true},
		{name: "grpc-rate", title: fmt.Sprintf(title, "gRPC unary", fixedRate), unit: "call",
			shape: shape{hops: twoHops, front: "grpc", middle: "http2"},
			work:  h2load(unary), fixed: true},
	}
}
