package metric

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestIndexAndBound(t *testing.T) {
	for _, tt := range []struct {
		d     time.Duration
		index int
		bound time.Duration
	}{
		{-time.Second, 0, time.Microsecond},
		{0, 0, time.Microsecond},
		{999, 0, time.Microsecond},
		{time.Microsecond, 1, 2 * time.Microsecond},
		{7 * time.Microsecond, 7, 8 * time.Microsecond},
		{8 * time.Microsecond, 8, 9 * time.Microsecond},
		{15 * time.Microsecond, 15, 16 * time.Microsecond},
		{16 * time.Microsecond, 16, 18 * time.Microsecond},
		{17 * time.Microsecond, 16, 18 * time.Microsecond},
		{18 * time.Microsecond, 17, 20 * time.Microsecond},
		{time.Millisecond, 63, 1024 * time.Microsecond},
		{1024 * time.Microsecond, 64, 1152 * time.Microsecond},
		{71 * time.Minute, Buckets - 1, 1 << 32 * time.Microsecond},
		{1<<63 - 1, Buckets - 1, 1 << 32 * time.Microsecond},
	} {
		i := Index(tt.d)
		if i != tt.index || Bound(i) != tt.bound {
			t.Errorf("%v: bucket %d below %v, want %d below %v",
				tt.d, i, Bound(i), tt.index, tt.bound)
		}
	}
}

// Each bucket begins where the one before it ends, and is at most an eighth of its lower bound
// wide.
func TestBucketsJoin(t *testing.T) {
	for i := range Buckets - 1 {
		low, high := Bound(i), Bound(i+1)
		if Index(low) != i+1 || Index(low-1) != i || Index(high-1) != i+1 {
			t.Fatalf("bucket %d [%v, %v) does not hold its own bounds", i+1, low, high)
		}
		if i >= sub && (high-low)*sub > low {
			t.Fatalf("bucket %d [%v, %v) is wider than an eighth", i+1, low, high)
		}
	}
}

func TestQuantile(t *testing.T) {
	uniform := make([]uint64, Buckets)
	for us := range 1000 {
		uniform[Index(time.Duration(us)*time.Microsecond)]++
	}
	single := make([]uint64, Buckets)
	single[Index(100*time.Millisecond)] = 1
	for _, tt := range []struct {
		name      string
		counts    []uint64
		q         float64
		low, high time.Duration
	}{
		{"nothing", nil, .5, 0, 0},
		{"zeros", make([]uint64, Buckets), .99, 0, 0},
		{"one", single, .5, 98304 * time.Microsecond, 106496 * time.Microsecond},
		{"median", uniform, .5, 495 * time.Microsecond, 505 * time.Microsecond},
		{"tail", uniform, .99, 970 * time.Microsecond, 1024 * time.Microsecond},
		{"below range", uniform, -1, 0, time.Microsecond},
		{"above range", uniform, 2, 999 * time.Microsecond, 1024 * time.Microsecond},
		{"foreign index", append(make([]uint64, Buckets), 7), .5, 0, 0},
	} {
		if got := Quantile(tt.counts, tt.q); got < tt.low || got > tt.high {
			t.Errorf("%s: %v, want %v to %v", tt.name, got, tt.low, tt.high)
		}
	}
}

// The estimate stays within the scheme's promise for whatever was measured.
func TestQuantileError(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	counts := make([]uint64, Buckets)
	all := make([]time.Duration, 10000)
	for i := range all {
		all[i] = time.Duration(rng.ExpFloat64() * float64(20*time.Millisecond))
		counts[Index(all[i])]++
	}
	slices.Sort(all)
	for _, q := range []float64{.1, .5, .9, .95, .99, .999} {
		exact := all[int(q*float64(len(all)))]
		if got := Quantile(counts, q); got < exact*7/8 || got > exact*9/8 {
			t.Errorf("q %v: %v, exactly %v", q, got, exact)
		}
	}
}
