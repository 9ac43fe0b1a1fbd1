package proxy

import (
	"testing"
	"time"
)

func TestErrorsAsGRPCStatuses(t *testing.T) {
	for status, want := range map[int]string{400: "13", 401: "16", 403: "7", 404: "12", 413: "8", 429: "8", 431: "8", 500: "13", 502: "14", 503: "14", 504: "4"} {
		if got := value(grpcError(status, "why", false), "grpc-status"); got != want {
			t.Errorf("%d is %s, want %s", status, got, want)
		}
	}
}

func TestFormatGRPCTimeout(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Microsecond: "1u", 1500 * time.Millisecond: "1500000u", 99 * time.Second: "99000000u", 100 * time.Second: "100000m",
		48 * time.Hour: "172800S", 1 << 62: "99999999S",
	} {
		got := formatGRPCTimeout(d)
		if back, ok := parseGRPCTimeout(got); got != want || !ok || back > d {
			t.Errorf("%v is %s (%v), want %s", d, got, back, want)
		}
	}
}
