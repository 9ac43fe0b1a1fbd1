package forward

import (
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/header"
)

func TestErrorsAsGRPCStatuses(t *testing.T) {
	for status, want := range map[int]string{400: "13", 401: "16", 403: "7", 404: "12", 413: "8",
		429: "8", 431: "8", 500: "13", 502: "14", 503: "14", 504: "4"} {
		if got := header.Value(grpcError(status, "why"), "grpc-status"); got != want {
			t.Errorf("%d is %s, want %s", status, got, want)
		}
	}
}

func TestFormatGRPCTimeout(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Microsecond: "1u", 1500 * time.Millisecond: "1500000u",
		99 * time.Second: "99000000u", 100 * time.Second: "100000m",
		48 * time.Hour: "172800S", 1 << 62: "99999999S",
	} {
		got := formatGRPCTimeout(d)
		if back, ok := h2.ParseGRPCTimeout(got); got != want || !ok || back > d {
			t.Errorf("%v is %s (%v), want %s", d, got, back, want)
		}
	}
}

func TestParseGRPCTimeout(t *testing.T) {
	for s, want := range map[string]time.Duration{"1S": time.Second, "100m": 100 * time.Millisecond,
		"99999999n": 99999999, "5H": 5 * time.Hour} {
		if d, ok := h2.ParseGRPCTimeout(s); !ok || d != want {
			t.Errorf("%q: %v, %v", s, d, ok)
		}
	}
	for _, s := range []string{"", "S", "1", "123456789S", "-1S", "1.5S", "1x"} {
		if d, ok := h2.ParseGRPCTimeout(s); ok {
			t.Errorf("%q: %v", s, d)
		}
	}
}
