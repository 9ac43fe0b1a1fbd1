package proxy

import (
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"
)

// parseGRPCTimeout reads grpc-timeout (gRPC over HTTP/2: at most eight digits and a unit).
func parseGRPCTimeout(s string) (time.Duration, bool) {
	if len(s) < 2 || len(s) > 9 {
		return 0, false
	}
	unit, ok := grpcUnit(s[len(s)-1])
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
	if !ok || err != nil {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

func grpcUnit(c byte) (time.Duration, bool) {
	switch c {
	case 'H':
		return time.Hour, true
	case 'M':
		return time.Minute, true
	case 'S':
		return time.Second, true
	case 'm':
		return time.Millisecond, true
	case 'u':
		return time.Microsecond, true
	case 'n':
		return time.Nanosecond, true
	}
	return 0, false
}

// grpcFailure says which statuses count against a backend: unknown, deadline exceeded, permission denied, internal,
// unavailable, data loss; the others are the caller's doing.
func grpcFailure(status string) bool {
	switch status {
	case "2", "4", "7", "13", "14", "15":
		return true
	}
	return false
}

// grpcStatuses: UNAVAILABLE is what a client may try again; the others say why it should not.
var grpcStatuses = map[int]string{403: "7", 404: "12", 502: "14", 503: "14", 504: "4"}

func grpcError(status int, reason string, ours bool) []hpack.HeaderField {
	code := grpcStatuses[status]
	if code == "" {
		code = "13"
	}
	fields := []hpack.HeaderField{
		{Name: ":status", Value: "200"},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "grpc-status", Value: code},
		{Name: "grpc-message", Value: percentEncode(reason)},
	}
	if ours {
		fields = append(fields, hpack.HeaderField{Name: headerError, Value: fieldValue(reason)})
	}
	return fields
}

// percentEncode is grpc-message's encoding (gRPC over HTTP/2, "Status-Message").
func percentEncode(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(s) {
		if c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
			continue
		}
		b.Write([]byte{'%', hex[c>>4], hex[c&15]})
	}
	return b.String()
}
