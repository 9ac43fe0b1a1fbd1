package forward

import (
	"errors"
	"strconv"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/header"
)

// grpcFailure says which statuses count against a backend: unknown, deadline exceeded, permission
// denied, internal, unavailable, data loss; the others are the caller's doing.
func grpcFailure(status string) bool {
	switch status {
	case "2", "4", "7", "13", "14", "15":
		return true
	}
	return false
}

// grpcCode is the status with which an answer ends. One that says none, or none that there is, is
// UNKNOWN to every caller's library.
func grpcCode(trailers []hpack.HeaderField) string {
	const greatest = 16
	n, err := strconv.ParseUint(header.Value(trailers, "grpc-status"), 10, 32)
	if err != nil || n > greatest {
		return "2"
	}
	return strconv.FormatUint(n, 10)
}

// saysStatus reports whether an answer that is all in its head ends as gRPC's do. One of another
// HTTP status is judged by that.
func saysStatus(status int, head []hpack.HeaderField) bool {
	return status == 200 || header.Value(head, "grpc-status") != ""
}

// grpcRepeatable: the rule has another try for a call that ended so.
func (x *exchange) grpcRepeatable(trailers []hpack.HeaderField) bool {
	status := grpcCode(trailers)
	n, _ := strconv.Atoi(status)
	return x.rule.Retries.GRPC(n, grpcFailure(status))
}

// grpcEnd takes a call's status: whether the backend failed, and whether it ended at the deadline
// that it was told of, a moment before our own wheel turned.
func (x *exchange) grpcEnd(fields []hpack.HeaderField) (failed bool) {
	status := grpcCode(fields)
	x.seen.GRPC(status)
	if status == "4" && x.late() {
		x.ranOut()
	}
	return grpcFailure(status)
}

// grpcStatus is what an error of ours is called. UNAVAILABLE is what a client may try again; the
// others say why it should not.
func grpcStatus(status int) string {
	switch status {
	case 401:
		return "16"
	case 403:
		return "7"
	case 404:
		return "12"
	case 413, 429, 431:
		return "8"
	case 502, 503:
		return "14"
	case 504:
		return "4"
	}
	return "13"
}

func grpcError(status int, words string) []hpack.HeaderField {
	fields := []hpack.HeaderField{{Name: "content-type", Value: "application/grpc"}}
	return append(fields, grpcTrailers(status, words)...)
}

func grpcTrailers(status int, words string) []hpack.HeaderField {
	return []hpack.HeaderField{
		{Name: "grpc-status", Value: grpcStatus(status)},
		{Name: "grpc-message", Value: h2.EncodeGRPCMessage(words)},
	}
}

// cutShort ends a response that has begun. A gRPC caller is told why in trailers: it would take a
// reset for an error of its own library. They would wait behind what the caller does not take, and
// nobody would watch over that.
func (x *exchange) cutShort(code uint32, status int, words string, b *batch) {
	if !x.grpc || x.c.http1 || x.heldDown > 0 {
		x.down.Reset(code)
		return
	}
	x.down.WriteHeaders(grpcTrailers(status, words), true)
	x.endEarly(b)
}

// brokenOff passes on that the backend broke its response off: what it said by a reset of the
// stream stays that.
func (x *exchange) brokenOff(a *attempt, code uint32, err error) {
	if said := new(h2.StreamError); errors.As(err, &said) {
		x.down.Reset(code)
		return
	}
	x.cutShort(code, 502, "the connection to "+a.endpoint.Address+" broke: "+reasonOf(err),
		&a.conn.batch)
}

// previousAttempts is where a gRPC server reads how many tries of a call there were before.
const previousAttempts = "grpc-previous-rpc-attempts"

// tellAttempts counts the tries before this one for the server (gRPC A6, "Exposed Retry Metadata"),
// beside those of the caller's own. What most likely reached nobody is not among them.
func (x *exchange) tellAttempts(fields []hpack.HeaderField) []hpack.HeaderField {
	if !x.grpc || x.repeats == 0 {
		return fields
	}
	before := uint64(x.repeats)
	for i := range fields {
		if fields[i].Name == previousAttempts {
			said, _ := strconv.ParseUint(fields[i].Value, 10, 16)
			fields[i].Value = strconv.FormatUint(said+before, 10)
			return fields
		}
	}
	return append(fields,
		hpack.HeaderField{Name: previousAttempts, Value: strconv.FormatUint(before, 10)})
}
