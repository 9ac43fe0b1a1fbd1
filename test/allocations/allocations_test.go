//go:build !race

package allocations

import (
	"runtime"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
)

// The race detector makes sync.Pool forget on purpose, so this is built without it.

// maxAllocs is what a request may allocate in one proxy, everything counted: two engines, the
// exchange, discovery, routing, balancing, deadlines and metrics. It only ever goes down. Two are
// the values that differ; a record of TLS is shared by many.
const maxAllocs = 2.5

const (
	batchSize = 16 // requests on their way together
	warmup    = 200
	counted   = 1000 // batches that are counted
)

// TestAllocationsPerRequest sends requests of ten fields of which two differ each time, and gets
// answers of six that do not. Both peers are scripts that write bytes made beforehand, and allocate
// nothing.
func TestAllocationsPerRequest(t *testing.T) {
	for _, tt := range []struct {
		name    string
		proxies float64
		world   world
	}{
		{"one plaintext hop", 1, world{}}, {"two hops", 2, world{mesh: true}},
		{"one hop by a consistent hash", 1, world{cluster: hashed(), more: 1}},
		{"two hops to a protected cluster", 2, world{mesh: true, cluster: protected()}},
		{"two hops and rate limits", 2, world{mesh: true, limits: limits()}},
		{"two hops by ten rules, with all of it", 2, world{mesh: true, cluster: busy(), more: 1,
			limits: limits(), rules: rules(10)}},
		{"two hops and traces that are not sampled", 2, world{mesh: true, tracing: unsampled()}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := allocations(t, meshed(t, tt.world)) / tt.proxies
			t.Logf("%.2f allocations a request and proxy", got)
			if got > maxAllocs {
				t.Errorf("%.2f allocations a request and proxy, more than %.1f", got, maxAllocs)
			}
		})
	}
}

// BenchmarkRequest is for profiles: -bench Request -memprofile with -memprofilerate 1.
func BenchmarkRequest(b *testing.B) {
	c := newClient(b, meshed(b, world{mesh: true}))
	c.rounds(b, warmup)
	b.ReportAllocs()
	b.ResetTimer()
	c.rounds(b, (b.N+batchSize-1)/batchSize)
}

// limits are one in all and one for each caller, which are never reached.
func limits() []*api.RateLimit {
	identity := &api.RateKey{Key: &api.RateKey_Identity{Identity: &api.CallerIdentity{}}}
	return []*api.RateLimit{
		{Requests: 1e9, WindowMs: 1000},
		{Requests: 1e9, WindowMs: 1000, Keys: []*api.RateKey{identity}},
	}
}

// unsampled has proxies look at each request for a trace, and begin none.
func unsampled() *api.Tracing {
	return &api.Tracing{Endpoint: "127.0.0.1:9", SpansPerSecond: 1,
		Protocol: api.Transport_TRANSPORT_GRPC}
}

func allocations(t *testing.T, addr string) float64 {
	c := newClient(t, addr)
	c.rounds(t, warmup)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c.rounds(t, counted)
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / (counted * batchSize)
}
