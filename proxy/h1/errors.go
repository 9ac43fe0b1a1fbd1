package h1

import "errors"

// Error codes of RFC 9113 §7, the language of OnReset and Reset on every codec.
const (
	codeProtocol uint32 = 0x1
	codeInternal uint32 = 0x2
	codeCancel   uint32 = 0x8
)

var (
	// ErrStale: a connection that had served before was closed before it answered anything. The peer most likely closed it
	// while idle, but the request may have been processed.
	ErrStale = errors.New("h1: kept connection was closed before it answered")
	// ErrUnsent: a connection, kept or new, was closed before anything of the request left. Any request may be sent again.
	ErrUnsent = errors.New("h1: connection was closed before the request was sent")
	// ErrUndelivered: the kernel of a server whose connection is Direct says that nobody has read the request. Any request may be sent
	// again, once: a server that closes with SO_LINGER 0 makes it say so of one that was read.
	ErrUndelivered = errors.New("h1: connection was closed before it took the request")
	// ErrBusy: OpenStream while an exchange is under way.
	ErrBusy = errors.New("h1: connection is busy")
	// ErrClosed: the connection takes no further request.
	ErrClosed = errors.New("h1: connection is closed")
	// ErrMalformed: header fields given to us cannot be written as HTTP/1.
	ErrMalformed = errors.New("h1: fields cannot be written as HTTP/1.1")

	// ErrUndrawn: this package changed a state in a way that doc.go does not draw, which is a mistake in it. The state stays as
	// it was, and the connection ends.
	ErrUndrawn = errors.New("h1: a state was to change in a way that is not drawn")

	errGone   = errors.New("h1: client went away")
	errLength = errors.New("h1: body differs from its content-length")
)

// Refusal is a message that we do not accept, and what a server answers to it.
type Refusal struct {
	Status int
	Reason string
}

func (r *Refusal) Error() string { return "h1: " + r.Reason }

func bad(reason string) *Refusal { return &Refusal{400, reason} }

var (
	errBareLF       = bad("line ends without CR")
	errRequestLine  = bad("malformed request line")
	errStatusLine   = bad("malformed status line")
	errTarget       = bad("malformed request target")
	errFolded       = bad("folded header line")
	errName         = bad("malformed header name")
	errValue        = bad("control character in header value")
	errLengthValue  = bad("malformed content-length")
	errLengthTwice  = bad("more than one content-length")
	errCoding       = bad("transfer-encoding other than chunked")
	errCodingTwice  = bad("more than one transfer-encoding")
	errCoding10     = bad("transfer-encoding in HTTP/1.0")
	errBothLengths  = bad("content-length and transfer-encoding together")
	errHost         = bad("malformed host")
	errHostMissing  = bad("host is missing")
	errHostTwice    = bad("more than one host")
	errHostDiffers  = bad("host differs from the request target")
	errScheme       = bad("scheme of the request target is not this connection's")
	errChunkSize    = bad("malformed chunk size")
	errChunkLine    = bad("chunk extension too long or malformed")
	errChunkEnd     = bad("chunk does not end with CRLF")
	errTrailer      = bad("field not allowed in trailers")
	errSwitch       = bad("informational response not allowed here")
	errRefused      = &Refusal{503, "no request is taken"}
	errUnsolicited  = &Refusal{502, "server spoke without a request"}
	errInformal     = &Refusal{502, "too many informational responses"}
	errBadResponse  = &Refusal{502, "response cannot be written as HTTP/1.1"}
	errHeadTimeout  = &Refusal{408, "headers took too long"}
	errLineTooLong  = &Refusal{414, "request line too long"}
	errHeadTooLarge = &Refusal{431, "headers too large"}
	errTooMany      = &Refusal{431, "too many headers"}
	errConnect      = &Refusal{501, "CONNECT is not supported"}
	errVersion      = &Refusal{505, "HTTP version not supported"}
)
