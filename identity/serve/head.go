package serve

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// requestHead is what a call's head says (grpc/doc/PROTOCOL-HTTP2.md, "Requests").
type requestHead struct {
	path    string
	timeout time.Duration // 0: none
}

// plainRefusal is an answer to what is no gRPC, in HTTP.
type plainRefusal struct{ status string }

func (r *plainRefusal) Error() string { return "this is a gRPC server: HTTP status " + r.status }

func (r *plainRefusal) fields() []hpack.HeaderField {
	return []hpack.HeaderField{{Name: ":status", Value: r.status}}
}

func parseHead(fields []hpack.HeaderField) (h requestHead, err error) {
	contentType, encoding := "", ""
	for i := range fields {
		switch f := &fields[i]; f.Name {
		case ":method":
			if f.Value != "POST" {
				return h, &plainRefusal{"405"}
			}
		case ":path":
			h.path = f.Value
		case "content-type":
			contentType = f.Value
		case "grpc-encoding":
			encoding = f.Value
		case "grpc-timeout":
			if h.timeout, err = parseTimeout(f.Value); err != nil {
				return h, err
			}
		}
	}
	if !isGRPC(contentType) {
		return h, &plainRefusal{"415"}
	}
	if encoding != "" && encoding != "identity" {
		return h, status.Errorf(codes.Unimplemented,
			"messages are compressed with %q: send them as they are", encoding)
	}
	return h, nil
}

// isGRPC says whether a content type is "application/grpc", or that with our codec's name behind
// it.
func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(contentType, "application/grpc")
	return ok && (rest == "" || rest == "+proto" || rest[0] == ';')
}

var timeoutUnits = map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second,
	'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond}

const (
	timeoutDigits = 8 // of grpc-timeout, at most
	// longestTimeout stands for all that are longer, which a Duration may not be able to hold.
	longestTimeout = 1000 * time.Hour
)

// parseTimeout reads grpc-timeout. A call without any time left has the least that is not none.
func parseTimeout(s string) (time.Duration, error) {
	digits := max(len(s)-1, 0)
	n, err := strconv.ParseUint(s[:digits], 10, 32)
	if err != nil || digits > timeoutDigits || timeoutUnits[s[digits]] == 0 {
		return 0, status.Errorf(codes.Internal, "grpc-timeout is %q", s)
	}
	unit := timeoutUnits[s[digits]]
	if n > uint64(longestTimeout/unit) {
		return longestTimeout, nil
	}
	return max(time.Duration(n)*unit, 1), nil
}

// Nothing of an answer's head is to enter HPACK's table: it is said once in a connection's life,
// and the index of the table would be a tenth of what the connection weighs. So the fields are of
// those that are never indexed (RFC 7541, section 6.2.3).
func unindexed(name, value string) hpack.HeaderField {
	return hpack.HeaderField{Name: name, Value: value, Sensitive: true}
}

var head = []hpack.HeaderField{
	{Name: ":status", Value: "200"}, unindexed("content-type", "application/grpc"),
}

// trailersOnly is the head of an answer that is only a status.
func trailersOnly(err error) []hpack.HeaderField {
	return append(head[:len(head):len(head)], trailers(err)...)
}

// trailers are what a call ends with.
func trailers(err error) []hpack.HeaderField {
	s := statusOf(err)
	out := []hpack.HeaderField{unindexed("grpc-status", strconv.Itoa(int(s.Code())))}
	if s.Message() != "" {
		out = append(out, unindexed("grpc-message", percentEncode(s.Message())))
	}
	return out
}

// statusOf is what a handler's error says.
func statusOf(err error) *status.Status {
	if s, ok := status.FromError(err); ok {
		return s
	}
	return status.FromContextError(err)
}

func codeOf(err error) codes.Code { return statusOf(err).Code() }

// percentEncode makes a message one that a field may have (grpc/doc/PROTOCOL-HTTP2.md,
// "Responses").
func percentEncode(s string) string {
	isPlain := func(b byte) bool { return b >= ' ' && b <= '~' && b != '%' }
	var out strings.Builder
	for i := range len(s) {
		if isPlain(s[i]) {
			out.WriteByte(s[i])
		} else {
			fmt.Fprintf(&out, "%%%02X", s[i])
		}
	}
	return out.String()
}
