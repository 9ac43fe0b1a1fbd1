package forward

import (
	"strconv"

	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/header"
	"golang.org/x/net/http2/hpack"
)

// reply is an answer of ours: an error, or whatever else no backend is asked for.
type reply struct {
	status int
	fields []hpack.HeaderField
	body   string
}

// errorReply says what went wrong. The reason goes no further than the mesh.
func (x *exchange) errorReply(status int, reason string) reply {
	if x.grpc {
		return reply{200, grpcError(status, reason, x.c.side.explains()), ""}
	}
	r := reply{status: status, body: reason + "\n", fields: []hpack.HeaderField{
		{Name: "content-type", Value: "text/plain; charset=utf-8"},
		{Name: "content-length", Value: strconv.Itoa(len(reason) + 1)},
	}}
	if status == 503 {
		// RFC 9110 §10.2.3: what it lacks now, an endpoint or room, it may soon have.
		r.fields = append(r.fields, hpack.HeaderField{Name: "retry-after", Value: "1"})
	}
	if x.c.side.explains() {
		r.fields = append(r.fields,
			hpack.HeaderField{Name: header.Error, Value: header.Printable(reason)})
	}
	return r
}

// write sends a reply: all of the response. A caller that does not take even its head gets a reset.
func (x *exchange) write(r reply) {
	head := append(
		[]hpack.HeaderField{{Name: ":status", Value: strconv.Itoa(r.status)}},
		r.fields...)
	bodiless := r.body == "" || header.Value(x.req, ":method") == "HEAD"
	if x.down.WriteHeaders(head, bodiless) != nil {
		x.down.Reset(h2.CodeInternal)
	}
	if !bodiless {
		x.down.WriteData([]byte(r.body), true)
	}
}
