package proxy

import (
	"testing"
	"time"
)

// A connection that is asked to end has time for the requests that are under way on it, whatever
// moment chance picks.
func TestAConnectionIsAskedToEndInTime(t *testing.T) {
	for _, left := range []time.Duration{0, 3 * time.Second, 24 * time.Hour} {
		for range 1000 {
			if n := notice(left); n < left/lifeShare || n > 2*left/lifeShare {
				t.Fatalf("asked %v before the end of %v", n, left)
			}
		}
	}
}
