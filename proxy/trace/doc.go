// Package trace is how a trace goes on from one process to the next, and which requests have one:
// the contexts that W3C and B3 put into headers (context.go, w3c.go, state.go, b3.go), and the
// decision at a request's beginning (sampler.go). Who exports a span names it in the request that
// goes on, in every format that came; who does not changes nothing.
//
// It is a leaf, without sockets, goroutines and a clock of its own.
package trace
