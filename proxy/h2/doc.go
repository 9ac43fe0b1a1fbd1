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
// A Stream is born by a HEADERS block (open), and each side ends its half with END_STREAM:
// localClosed when ours is in the output, remoteClosed when the peer's was read. Both make it
// closed, and it leaves the connection. RST_STREAM from either side makes it dead at once: what it
// keeps is dropped, what it holds of the windows goes back. A server whose answer is complete
// before the request is discards the request: the rest of the answer leaves, what still comes of
// the request is thrown away, and RST_STREAM(NO_ERROR) follows. Frames for a stream that is gone
// are no offence if we reset it lately, and are charged.
//
// A connection begins with the peer's preface and SETTINGS (prefaced, started), counts with its own
// settings once they are acknowledged (acked), and drains in two steps (RFC 9113 §6.8): GOAWAY with
// the highest id and a PING, then, when the PING has come back, GOAWAY with the last id that was
// served. It ends when no stream is left. fatal is why it must end sooner.
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
