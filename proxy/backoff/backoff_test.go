package backoff

import (
	"testing"
	"testing/synctest"
	"time"
)

// isAround fails unless a pause is another one, give or take half of it.
func isAround(t *testing.T, got, want time.Duration) {
	t.Helper()
	if got < want/2 || got >= want+want/2 {
		t.Errorf("a pause of %s, want one of %s, give or take half of it", got, want)
	}
}

func TestPausesDoubleUpToABound(t *testing.T) {
	b := Backoff{Min: 100 * time.Millisecond, Max: time.Second}
	for _, want := range []time.Duration{100, 200, 400, 800, 1000, 1000, 1000} {
		isAround(t, b.Next(), want*time.Millisecond)
	}
	b.Reset()
	isAround(t, b.Next(), b.Min)
}

func TestALongLifeBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := Backoff{Min: time.Second, Max: 8 * time.Second}
		b.Next()
		began := time.Now()
		time.Sleep(b.Max)
		isAround(t, b.After(began), 2*time.Second) // no longer than the longest pause
		began = time.Now()
		time.Sleep(b.Max + 1)
		isAround(t, b.After(began), b.Min)
	})
}

func TestPausesAreSpread(t *testing.T) {
	const d, n = time.Second, 4000
	var parts [10]int
	for range n {
		got := Around(d)
		isAround(t, got, d)
		parts[(got-d/2)*10/d]++
	}
	for i, got := range parts {
		if got < n/20 || got > n/5 {
			t.Errorf("of %d pauses %d are in the tenth %d of the spread", n, got, i)
		}
	}
	if got := Around(0); got != 0 {
		t.Errorf("nothing, spread, is %s", got)
	}
}
