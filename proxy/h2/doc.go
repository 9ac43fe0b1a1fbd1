// Package h2 is HTTP/2 (RFC 9113) at the level of frames, both roles, for a proxy: events in, calls
// out, no goroutine, channel or timer per stream.
//
// A Conn's reader has turns, which wire gives it and of which none waits (Conn.turn): it reads
// frames and calls the sinks of the streams they belong to. Any goroutine may write to a stream. A
// write never waits: what flow control or a full output does not admit is kept by the stream, whose
// owner hears of it through OnSent as it leaves. Received bytes stay charged to the peer's windows
// until the owner says Consumed, so what a connection can make us hold is bounded by StreamWindow
// and ConnWindow.
//
// One lock a connection, wire.Conn's, guards stream states, send windows, the HPACK encoder and the
// output: encoding a header block and appending it are one critical section. No sink or handler is
// called with that lock held, but OnBreach, which may only count; two connections' locks are never
// held together. A sink call that was under way when another goroutine called Reset may still
// arrive: its owner has a lock of its own to tell.
//
// # States
//
// state.go has the states, and the only functions that change them. What is not drawn here is not
// done: the connection ends with ErrUndrawn.
//
// # A stream's states
//
//	idle         → open, localClosed, remoteClosed
//	open         → localClosed, remoteClosed, discarding, reset
//	localClosed  → closed, reset
//	remoteClosed → finishing, closed, reset
//	discarding   → finishing, reset
//	finishing    → closed, reset
//	closed       →
//	reset        →
//
// A HEADERS block opens a stream, and each side ends its half with END_STREAM: the stream is
// localClosed when ours is in the output, and remoteClosed when the peer's was read. Both make it
// closed, and it leaves the connection. RST_STREAM from either side resets it at once: what it
// keeps is dropped, and what it holds of the windows goes back. Frames for a stream that is gone
// are no offence if we reset it lately, and are charged.
//
// A server's owner may leave a stream while the end of its answer is kept. The answer still leaves.
// If the request is not complete, the stream is discarding: what still comes of the request is
// thrown away, and RST_STREAM(NO_ERROR) follows the answer. Otherwise it is finishing.
//
// # How a connection starts
//
//	preface  → settings
//	settings → started
//	started  → agreed
//	agreed   →
//
// A server awaits the client's preface, and both await the peer's first SETTINGS. With them the
// connection has started. The peer counts with our settings, and not with the defaults, once it has
// acknowledged them.
//
// # How a connection ends
//
//	serving   → announced, draining, failed, over
//	announced → draining, failed, over
//	draining  → failed, over
//	failed    → over
//	over      →
//
// A server drains in two steps (RFC 9113 §6.8). It announces that with a GOAWAY of the highest id
// and a PING, and still takes requests. When the PING has come back it sends a GOAWAY with the last
// id that it serves, and takes no more. A client drains at once, when either side wants to. A
// draining connection ends when its last stream has ended. One that has failed ends in the reader's
// next turn, which fatal tells why. A connection is over when its reader has ended.
//
// # HPACK
//
// Blocks are read by a decoder (decoder.go) and written by an encoder (encoder.go) of our own. Each
// has a table (table.go); the decoder also remembers literals that repeat. Huffman coding is
// x/net's.
//
// # What a peer can cost
//
// What a peer can make us do for nothing is paid from two budgets, of resets and of frames that
// carry no message (budget.go); a peer that overdraws one gets ENHANCE_YOUR_CALM.
//
// The package does not route, retry, compare host with :authority, push, or send or obey
// priorities. It knows nothing of the mesh.
package h2
