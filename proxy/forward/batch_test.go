package forward

import "testing"

type countingFlusher struct{ n int }

func (f *countingFlusher) Flush()           { f.n++ }
func (f *countingFlusher) ClaimFlush() bool { return true }

// A batch of very many small pieces is a list of those that they went to, in whatever order they
// come.
func TestABatchIsAsLongAsItsConnections(t *testing.T) {
	for _, connections := range []int{1, 2, 3, 200} {
		all := make([]countingFlusher, connections)
		var b batch
		for range 10_000 {
			for i := range all {
				b.add(&all[i])
			}
		}
		if n := cap(b.touched); n > 4*manyTouched {
			t.Errorf("room for %d of %d connections", n, connections)
		}
		b.flush()
		for i := range all {
			if all[i].n == 0 {
				t.Errorf("connection %d of %d was not flushed", i, connections)
			}
		}
	}
}
