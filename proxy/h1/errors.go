package h1

import "errors"

// Error codes of RFC 9113 §7, the language of OnReset and Reset on every codec.
const (
	codeNone     uint32 = 0x0
	codeProtocol uint32 = 0x1
	codeInternal uint32 = 0x2
	codeCancel   uint32 = 0x8
)

var (
	// ErrStale says that a connection which had served before was closed before it answered
	// anything. The peer most likely closed it while it was idle, but the request may have been
	// processed.
	ErrStale = errors.New("h1: kept connection was closed before it answered")
	// ErrUnsent says that a connection, kept or new, was closed before anything of the request
	// left. Any request may be sent again.
	ErrUnsent = errors.New("h1: connection was closed before the request was sent")
	// ErrUndelivered says that the server's kernel, which only a Direct connection tells of, has
	// reset the connection before anybody read the request. Any request may be sent again, once:
	// the kernel says the same of a request that was read, if the server closes with SO_LINGER 0.
	ErrUndelivered = errors.New("h1: connection was closed before it took the request")
	// ErrBusy is OpenStream's while an exchange is under way.
	ErrBusy = errors.New("h1: connection is busy")
	// ErrClosed says that the connection takes no further request.
	ErrClosed = errors.New("h1: connection is closed")
	// ErrMalformed says that header fields given to this package cannot be written as HTTP/1.
	ErrMalformed = errors.New("h1: fields cannot be written as HTTP/1.1")
	// ErrUndrawn says that this package was about to change a state in a way that doc.go does not
	// draw, which is a mistake in it. The state stays as it was, and the connection ends.
	ErrUndrawn = errors.New("h1: a state was to change in a way that is not drawn")

	errGone   = errors.New("h1: client went away")
	errLength = errors.New("h1: body differs from its content-length")
)

// Refusal is why a message is not accepted, and what a server answers to it.
type Refusal struct {
	Status int
	Reason string
}

func (r *Refusal) Error() string { return "h1: " + r.Reason }

func bad(reason string) *Refusal { return &Refusal{400, reason} }

var (
	errBareLF        = bad("line ends without CR")
	errRequestLine   = bad("malformed request line")
	errStatusLine    = bad("malformed status line")
	errTarget        = bad("malformed request target")
	errFolded        = bad("folded header line")
	errName          = bad("malformed header name")
	errValue         = bad("control character in header value")
	errLengthValue   = bad("malformed content-length")
	errLengthTwice   = bad("more than one content-length")
	errCoding        = bad("transfer-encoding other than chunked")
	errCodingTwice   = bad("more than one transfer-encoding")
	errCoding10      = bad("transfer-encoding in HTTP/1.0")
	errBothLengths   = bad("content-length and transfer-encoding together")
	errHost          = bad("malformed host")
	errHostMissing   = bad("host is missing")
	errHostTwice     = bad("more than one host")
	errScheme        = bad("scheme of the request target is not HTTP's")
	errConnectBody   = bad("CONNECT with a body")
	errChunkSize     = bad("malformed chunk size")
	errChunkLine     = bad("chunk extension too long or malformed")
	errChunkEnd      = bad("chunk does not end with CRLF")
	errTrailer       = bad("field not allowed in trailers")
	errSwitch        = bad("informational response not allowed here")
	errRefused       = &Refusal{503, "no request is taken"}
	errUnsolicited   = &Refusal{502, "server spoke without a request"}
	errInformational = &Refusal{502, "too many informational responses"}
	errBadResponse   = &Refusal{502, "response cannot be written as HTTP/1.1"}
	errHeadTimeout   = &Refusal{408, "headers took too long"}
	errLineTooLong   = &Refusal{414, "request line too long"}
	errHeadTooLarge  = &Refusal{431, "headers too large"}
	errTooMany       = &Refusal{431, "too many headers"}
	errTunnelFramed  = &Refusal{502, "response to CONNECT has a body, so there is no tunnel"}
	errVersion       = &Refusal{505, "HTTP version not supported"}
)
