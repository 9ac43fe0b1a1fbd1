// Package h1 is a strict, incremental HTTP/1.1 engine (RFC 9112): a server codec for connections that clients opened and a
// client codec for connections that we opened. Both speak the shapes of HTTP/2, lists of header fields with pseudo-headers
// and streams with windows, so that an exchange joins any two codecs without asking which they are.
//
// It never passes bytes through. A message is parsed, checked, and written again in one canonical form, so two parsers
// behind each other cannot disagree about where it ends. What RFC 9112 lets a recipient repair, it refuses: both
// content-length and transfer-encoding, a second or odd content-length, any coding but chunked, folded lines, bare CR or
// LF, a space before the colon, control characters. It answers such a request itself (400, 408, 414, 431, 501, 505) and
// closes, after a moment for the answer to arrive; such a response resets the stream and closes.
//
// It refuses plain CONNECT. Upgrade is an extended CONNECT (RFC 8441) to the sink, but only on a GET without body, and never
// to h2c; every other Upgrade is ignored, as RFC 9110 §7.8 permits. An application that answers 2xx instead of 101 has
// declined in a way that extended CONNECT cannot say, where 2xx is success: the response then has a DeclinedField, which the
// server codec takes off, and writes an ordinary response.
//
// # States
//
// The reader is in one of six phases: a head, a body, the trailers of a chunked one; then a server awaits its turn, which
// comes when the response has ended, and a client is back at a head. After an upgrade both are raw, and half-closed when
// their peer has said all. What ends an exchange (ended, overLocked) and what ends the connection with it (last) is decided
// under the lock, by whichever side comes second. wait says what the reader cannot go on without: input, window, or its
// turn.
//
// # Rules
//
// Pipelined requests are answered in order: the next one is not parsed before the response is complete. A client that ends
// its half of the connection while it awaits a response counts as gone, as in net/http and nginx: the two cannot be told
// apart, and work for a client that left is worse. Inside an upgraded connection a half-close is passed on.
//
// A response that ends before its request has makes the connection unusable: it is closed, never reused. So is one after an
// error that came before the request's end. Where the head knows, it says so.
//
// The reader parses, and calls the sinks and the handler, in turns that it has from wire (Conn.turn): none of them waits.
// Others wake it under the lock. The package starts no goroutine; those of wire for this connection have ended when Start's
// end is called. The one lock is the wire's.
package h1
