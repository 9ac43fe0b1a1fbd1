// Package tracing holds what proxies export of traces to a real collector, as others build it:
// Jaeger. It contains tests only, with the build tag real.
//
// The mesh and Jaeger are processes on loopback, which end with the test.
package tracing
