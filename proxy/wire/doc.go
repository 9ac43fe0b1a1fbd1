// Package wire moves the bytes of one connection, plain or TLS, for the protocol engines above it.
//
// A Conn has one reader goroutine, its owner's, which calls Fill, Buffered and Discard. Anybody may add output under the
// Conn's lock and then flush it: a flush tries one write that cannot block, and what the kernel does not take is left to a
// writer goroutine that lives until the output is empty. So no reader ever waits for a peer. TLS encrypts into the same
// output, so a slow TLS peer costs no goroutine either until it is slow.
//
// The package does not frame, parse or limit what is appended: a protocol engine asks Queued and stops. It does not dial,
// accept, choose certificates or log. It starts only writers: they end when the output is empty or the Conn is closed, and
// Wait waits for them. An idle connection holds no buffer of ours.
package wire
