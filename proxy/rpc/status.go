package rpc

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tulle-mesh/tulle/proxy/h2"
)

// Code is a gRPC status code.
type Code uint32

// The codes, as in grpc/doc/statuscodes.md.
const (
	OK Code = iota
	Canceled
	Unknown
	InvalidArgument
	DeadlineExceeded
	NotFound
	AlreadyExists
	PermissionDenied
	ResourceExhausted
	FailedPrecondition
	Aborted
	OutOfRange
	Unimplemented
	Internal
	Unavailable
	DataLoss
	Unauthenticated
)

var codeNames = [...]string{
	"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound",
	"AlreadyExists", "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted",
	"OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated",
}

func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return "Code(" + strconv.FormatUint(uint64(c), 10) + ")"
}

// Status is why a call failed. It is what the server said or, if the server said nothing, what
// happened on this side.
type Status struct {
	Code    Code
	Message string
	cause   error // what happened on this side
}

func (s *Status) Error() string { return s.Code.String() + ": " + s.Message }

// Unwrap is the error on this side that the call failed with: a context's, a dial's, a
// connection's. It is nil if the server gave the status.
func (s *Status) Unwrap() error { return s.cause }

func newStatus(code Code, format string, args ...any) *Status {
	return &Status{Code: code, Message: fmt.Sprintf(format, args...)}
}

func causedBy(code Code, err error) *Status {
	return &Status{Code: code, Message: err.Error(), cause: err}
}

// contextStatus is the status of a call whose context is done.
func contextStatus(err error) *Status {
	if errors.Is(err, context.DeadlineExceeded) {
		return causedBy(DeadlineExceeded, err)
	}
	return causedBy(Canceled, err)
}

// resetStatus is the status of a call whose stream ended without trailers
// (grpc/doc/PROTOCOL-HTTP2.md, "Errors"). If it was not the stream but the connection that ended,
// the server is away.
func resetStatus(code uint32, err error) *Status {
	var ofStream *h2.StreamError
	if !errors.As(err, &ofStream) {
		return causedBy(Unavailable, err)
	}
	switch code {
	case h2.CodeRefusedStream:
		return causedBy(Unavailable, err)
	case h2.CodeCancel:
		return causedBy(Canceled, err)
	case h2.CodeEnhanceYourCalm:
		return causedBy(ResourceExhausted, err)
	case h2.CodeInadequateSecure:
		return causedBy(PermissionDenied, err)
	}
	return causedBy(Internal, err)
}

// httpStatus is the status of a call that was answered in HTTP and not in gRPC, by something in
// between (grpc/doc/http-grpc-status-mapping.md).
func httpStatus(status string) *Status {
	code := Unknown
	switch status {
	case "400":
		code = Internal
	case "401":
		code = Unauthenticated
	case "403":
		code = PermissionDenied
	case "404":
		code = Unimplemented
	case "429", "502", "503", "504":
		code = Unavailable
	}
	return newStatus(code, "the server answered HTTP status %q and no gRPC status", status)
}

// trailerStatus reads grpc-status and grpc-message. OK is nil.
func trailerStatus(code, message string) *Status {
	n, err := strconv.ParseUint(code, 10, 32)
	if err != nil {
		return newStatus(Unknown, "the server sent %q as its grpc-status", code)
	}
	if Code(n) == OK {
		return nil
	}
	return &Status{Code: Code(n), Message: percentDecode(message)}
}

// percentDecode decodes a message for people. What is no valid escape stays as it is.
func percentDecode(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(v))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return strings.ToValidUTF8(b.String(), "�")
}
