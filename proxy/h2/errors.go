package h2

import (
	"errors"
	"fmt"
	"strconv"
)

// Error codes (RFC 9113 §7).
const (
	CodeNone             uint32 = 0x0
	CodeProtocol         uint32 = 0x1
	CodeInternal         uint32 = 0x2
	CodeFlowControl      uint32 = 0x3
	CodeSettingsTimeout  uint32 = 0x4
	CodeStreamClosed     uint32 = 0x5
	CodeFrameSize        uint32 = 0x6
	CodeRefusedStream    uint32 = 0x7
	CodeCancel           uint32 = 0x8
	CodeCompression      uint32 = 0x9
	CodeConnect          uint32 = 0xa
	CodeEnhanceYourCalm  uint32 = 0xb
	CodeInadequateSecure uint32 = 0xc
	CodeHTTP11Required   uint32 = 0xd
)

var (
	// ErrNoCapacity says that the peer's MAX_CONCURRENT_STREAMS is reached, or the output is full.
	// OnCapacity says when to try again.
	ErrNoCapacity = errors.New("h2: no stream can be opened now")
	// ErrTooLong says that a head is above the peer's MAX_HEADER_LIST_SIZE; nothing was sent. A
	// server may send another head.
	ErrTooLong = errors.New("h2: the peer takes no header list so long")
	// ErrGoingAway says that this connection takes no new streams.
	ErrGoingAway = errors.New("h2: connection is going away")
	// ErrRefused says that the peer has not processed the request. Any request may be sent again
	// elsewhere.
	ErrRefused = errors.New("h2: refused, not processed")
	// ErrEarly is an ErrRefused of a stream that was opened before the peer's SETTINGS had said how
	// many streams it takes. It does not mean that the peer is overloaded.
	ErrEarly = errors.New("h2: refused, for the limit was not known")
	// ErrUndrawn says that this package was about to change a state in a way that doc.go does not
	// draw, which is a mistake in it. The state stays as it was, and the connection ends.
	ErrUndrawn = connError(CodeInternal, "a state was to change in a way that is not drawn")

	errKeepAlive = errors.New("h2: peer answers no PING")
	errIdle      = errors.New("h2: connection was idle")
	errDone      = errors.New("h2: last stream ended after GOAWAY")
)

// ConnError ends a connection.
type ConnError struct {
	Code   uint32
	Reason string
	Remote bool // the peer's GOAWAY said so
}

func (e *ConnError) Error() string { return describe("connection", e.Code, e.Reason, e.Remote) }

// StreamError ends a stream.
type StreamError struct {
	Code   uint32
	Reason string
	Remote bool // the peer's RST_STREAM said so
	early  bool // ErrEarly
}

func (e *StreamError) Error() string { return describe("stream", e.Code, e.Reason, e.Remote) }

// Is makes a peer's REFUSED_STREAM an ErrRefused, and perhaps an ErrEarly.
func (e *StreamError) Is(target error) bool {
	refused := e.Remote && e.Code == CodeRefusedStream
	return refused && (target == ErrRefused || target == ErrEarly && e.early)
}

func describe(what string, code uint32, reason string, remote bool) string {
	by := "ended here"
	if remote {
		by = "ended by the peer"
	}
	if reason != "" {
		reason = ": " + reason
	}
	return fmt.Sprintf("h2: %s %s with %s%s", what, by, CodeName(code), reason)
}

func connError(code uint32, reason string) error { return &ConnError{Code: code, Reason: reason} }

func codeOf(err error) uint32 {
	var ce *ConnError
	if errors.As(err, &ce) {
		return ce.Code
	}
	return CodeInternal
}

var codeNames = [...]string{
	"NO_ERROR",
	"PROTOCOL_ERROR",
	"INTERNAL_ERROR",
	"FLOW_CONTROL_ERROR",
	"SETTINGS_TIMEOUT",
	"STREAM_CLOSED",
	"FRAME_SIZE_ERROR",
	"REFUSED_STREAM",
	"CANCEL",
	"COMPRESSION_ERROR",
	"CONNECT_ERROR",
	"ENHANCE_YOUR_CALM",
	"INADEQUATE_SECURITY",
	"HTTP_1_1_REQUIRED",
}

// CodeName is the RFC's name of an error code.
func CodeName(code uint32) string {
	if code < uint32(len(codeNames)) {
		return codeNames[code]
	}
	return "code " + strconv.FormatUint(uint64(code), 10)
}
