// Package wire moves the bytes of one connection, plain or TLS, for the protocol engines above it.
//
// A Conn has one reader, its owner's, which looks at Buffered and calls Discard. Start gives it
// turns: one whenever there is input, or another reason to run, and none of them waits. The readers
// of TCP connections share the goroutines of a few loops (loop_linux.go), and have them one after
// the other; any other connection's reader has a goroutine of its own, which runs the same turns
// (reader.go). Before Start and after the last turn Fill waits for input on its caller's goroutine.
//
// Anybody may add output under the Conn's lock and then flush it: a flush tries one write that
// cannot block, and what the kernel does not take is left to a writer goroutine that lives until
// the output is empty. So no reader ever waits for a peer. TLS encrypts into the same output, so a
// slow TLS peer costs no goroutine either until it is slow.
//
// The package does not frame, parse or limit what is appended: a protocol engine asks QueuedLocked
// and stops. It does not dial, accept, choose certificates or log. An idle connection holds no
// buffer of ours.
//
// It starts three kinds of goroutines. Loops, as many as the runtime uses processors, belong to the
// package: each begins with its first socket and ends when its last one is closed and that one's
// reader is over. Readers that share no loop end with their last turn. Writers end when the output
// is empty or the Conn is closed, and Wait waits for them.
package wire
