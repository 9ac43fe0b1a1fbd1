package h2

import "testing"

// A relayed request costs a Stream on each of four connection ends, the test's own exchange, and
// now and then something amortized. More is a regression.
func TestRelayAllocations(t *testing.T) {
	const limit = 6
	if got := testing.Benchmark(BenchmarkRelay).AllocsPerOp(); got > limit {
		t.Errorf("%d allocations a request, more than %d", got, limit)
	}
}
