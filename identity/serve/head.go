package serve

import (
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/proxy/h2"
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

// isGRPC says whether a content type is gRPC's, without a codec's name or with our own codec's.
func isGRPC(contentType string) bool {
	codec, named := strings.CutPrefix(contentType, "application/grpc+")
	return h2.IsGRPC(contentType) && (!named || codec == "proto")
}

// longestTimeout stands for all that are longer.
const longestTimeout = 1000 * time.Hour

// parseTimeout reads grpc-timeout. A call without any time left has the least that is not none.
func parseTimeout(s string) (time.Duration, error) {
	d, ok := h2.ParseGRPCTimeout(s)
	if !ok {
		return 0, status.Errorf(codes.Internal, "grpc-timeout is %q", s)
	}
	return min(max(d, 1), longestTimeout), nil
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
		out = append(out, unindexed("grpc-message", h2.EncodeGRPCMessage(s.Message())))
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
