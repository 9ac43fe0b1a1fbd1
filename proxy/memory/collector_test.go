package memory

import "testing"

func TestGarbageIsBoundedByTheHeap(t *testing.T) {
	c := Collector{MaxGarbage: 12 << 20, Least: 50, Most: 200}
	for live, want := range map[uint64]int{
		0: 200, 4 << 20: 200, 12 << 20: 100, 20 << 20: 60, 100 << 20: 50,
	} {
		if got := c.percentFor(live); got != want {
			t.Errorf("GOGC is %d for a live heap of %d MiB, want %d", got, live>>20, want)
		}
	}
}
