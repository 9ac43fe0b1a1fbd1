package header

import (
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"0": 0, "1": time.Second, "120": 2 * time.Minute, "007": 7 * time.Second,
		"2147483647": 2147483647 * time.Second, "2147483648": 0,
		"": 0, "-1": 0, "+1": 0, "1.5": 0, "1s": 0, " 1": 0, "soon": 0,
		"Mon, 30 Nov 2026 12:00:07 GMT":  7 * time.Second,
		"Mon, 30 Nov 2026 11:59:59 GMT":  0,
		"Monday, 30-Nov-26 12:01:00 GMT": time.Minute,
		"Mon Nov 30 12:00:05 2026":       5 * time.Second,
		"Mon, 30 Nov 2026 12:00:07 CET":  0,
		"Mon, 31 Feb 2026 12:00:07 GMT":  0,
	} {
		if got := RetryAfter(value, now); got != want {
			t.Errorf("%q is %v, want %v", value, got, want)
		}
	}
}
