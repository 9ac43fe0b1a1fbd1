package metric

import (
	"fmt"
	"testing"
)

// Limits under ever new names do not fill the memory: those beyond the bound are one.
func TestLimitsBeyondTheBoundAreOne(t *testing.T) {
	r := NewRegistry()
	first := RateLimit{Namespace: "shop", Policy: "web", Limit: "all", Enforced: true}
	known := r.Limited(first)
	for i := range 10 * maxLimits {
		r.Limited(RateLimit{Limit: fmt.Sprint(i), Enforced: true}).Inc()
	}
	if n := len(r.limited.by); n != maxLimits+1 {
		t.Errorf("%d limits are counted apart, want %d and one for the others", n, maxLimits)
	}
	if r.Limited(first) != known || known.Load() != 0 {
		t.Error("a limit that was known is counted as another")
	}
	if n := r.Limited(RateLimit{Limit: Other, Enforced: true}).Load(); n != 9*maxLimits+1 {
		t.Errorf("%d requests are beyond the others", n)
	}
}
