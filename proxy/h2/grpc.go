package h2

import (
	"strconv"
	"strings"
	"time"
)

// IsGRPC says whether a content type is "application/grpc", or that with a codec's name behind it.
// gRPC-Web is another protocol, which needs neither trailers nor HTTP/2.
func IsGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(contentType, "application/grpc")
	return ok && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// longestGRPCTimeout stands for all that are longer: eight digits of hours are more than a Duration
// holds.
const longestGRPCTimeout = 100 * 365 * 24 * time.Hour

// ParseGRPCTimeout reads grpc-timeout (gRPC over HTTP/2, "Requests": at most eight digits and a
// unit).
func ParseGRPCTimeout(s string) (time.Duration, bool) {
	if len(s) < 2 || len(s) > 9 {
		return 0, false
	}
	unit, ok := grpcUnit(s[len(s)-1])
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 32)
	if !ok || err != nil {
		return 0, false
	}
	return min(time.Duration(n), longestGRPCTimeout/unit) * unit, true
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

// EncodeGRPCMessage is the encoding of grpc-message (gRPC over HTTP/2, "Status-Message").
func EncodeGRPCMessage(s string) string {
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
