// Package h1 is a strict, incremental HTTP/1.1 engine (RFC 9112): a server codec for connections
// that clients opened and a client codec for connections that we opened. Both speak the shapes of
// HTTP/2, lists of header fields with pseudo-headers and streams with windows, so that an exchange
// joins any two codecs without asking which they are.
//
// It never passes bytes through. A message is parsed, checked, and written again in one canonical
// form, so two parsers behind each other cannot disagree about where it ends. What RFC 9112 lets a
// recipient repair, it refuses: both content-length and transfer-encoding, a second or odd
// content-length, any coding but chunked, folded lines, bare CR or LF, a space before the colon,
// control characters. It answers such a request itself (400, 408, 414, 431, 505) and closes,
// after a moment for the answer to arrive; such a response resets the stream and closes.
//
// CONNECT, and an Upgrade, begin a tunnel if the server agrees. An upgrade is told by :protocol, as
// in extended CONNECT (RFC 8441), but keeps its method. Upgrades of a request with a chunked body,
// of HEAD, and to h2c are ignored, as RFC 9110 §7.8 permits. What follows the head is withheld from
// the server until it has agreed, but for the body of an upgrade, of which an UpgradeLengthField
// tells the length: the tunnel's bytes follow in the same stream, and are thrown away if there is
// none. A 2xx to CONNECT that has a length or a coding is refused: whoever sends one is no proxy,
// and reads a next request where the tunnel would begin. An absolute target comes with an
// AbsoluteField, and is written as it came.
//
// An application that answers 2xx instead of 101 has declined in a way that extended CONNECT cannot
// say, where 2xx is success. The response then has a DeclinedField, which the server codec takes
// off, and writes an ordinary response.
//
// state.go has the states drawn here, and the only functions that change them. What is not drawn is
// not done: the connection ends with ErrUndrawn.
//
// # A server's reader
//
//	head       → body, turn
//	body       → trailers, turn
//	trailers   → turn
//	turn       → head, raw
//	raw        → halfClosed
//	halfClosed →
//
// The reader reads a head, its body if there is one, and the trailers of a chunked body. Then it
// awaits its turn, which comes when the response has ended. After an upgrade it passes raw bytes
// on, and is halfClosed once the client has said all.
//
// # A client's reader
//
//	head       → body, raw
//	body       → trailers, head
//	trailers   → head
//	raw        → halfClosed
//	halfClosed →
//
// A client's reader is back at a head when a response has ended, and so it is after a head that no
// body follows.
//
// # A server's exchange
//
//	open            → localClosed, remoteClosed, raw, over
//	localClosed     → over
//	remoteClosed    → raw, over
//	raw             → rawLocalClosed, rawRemoteClosed, over
//	rawLocalClosed  → over
//	rawRemoteClosed → over
//	over            →
//
// The request is complete when its exchange is remoteClosed. The exchange is over when the response
// has ended, which may be before the request has; with Options.Outlive it is localClosed then, and
// over when the request has ended too. An upgraded exchange is over when both sides have said all.
// Any exchange is over when it was reset or its connection has ended.
//
// # A client's exchange
//
//	open            → localClosed, remoteClosed, raw, over
//	localClosed     → over
//	remoteClosed    → over
//	raw             → rawLocalClosed, rawRemoteClosed, over
//	rawLocalClosed  → over
//	rawRemoteClosed → over
//	over            →
//
// The request is complete when its exchange is localClosed. The exchange is over when the response
// has ended; with Options.Outlive it is remoteClosed then if the request has not, and over when
// that has. An upgrade stays open until it is answered.
//
// # How a connection ends
//
//	serving  → draining, failed, over
//	draining → failed, over
//	failed   → over
//	over     →
//
// A draining connection takes no further exchange: either side has said so, or cannot tell where
// the next message would begin. A response that ends before its request has makes the connection
// unusable, and so does an error that came before the request's end. Where the head of the response
// knows this, the head says so. A connection that has failed ends in the reader's next turn, for
// the reason that failure holds. A connection is over when its reader has ended.
//
// # Rules
//
// Pipelined requests are answered in order: the next one is not parsed before the response is
// complete. A client that ends its half of the connection while it awaits a response still gets it,
// if it said that this request was its last. Of any other an end of its half is also how it cancels
// a request, as net/http's does, and the two cannot be told apart: it gets what comes within
// Options.HalfClosed. Inside an upgraded connection a half-close is passed on.
//
// The reader parses, and calls the sinks and the handler, in turns that package wire gives it
// (Conn.turn). None of these calls waits. Conn.wait says what the reader cannot go on without:
// input, window, or its turn. Other goroutines wake it under the lock. The package starts no
// goroutine; those of wire for this connection have ended when Start's end is called. The one lock
// is wire.Conn's.
package h1
