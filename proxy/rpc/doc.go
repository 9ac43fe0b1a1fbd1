// Package rpc is a small gRPC client over proxy/h2: unary calls and bidirectional streams, enough
// to talk to identity, destination and viz, so that the proxy need not link grpc-go (4 MB).
//
// A Client has one connection, dialled when a call needs one and again when it is gone. It never
// repeats what a server may have seen: only a call that the server surely did not process is sent
// once more, on a fresh connection. When to try again after a failure, and how long to wait, is the
// caller's business.
//
// Flow control reaches the caller at both ends: Send waits while more than SendBuffer is unsent,
// and messages that Recv has not taken keep the window closed, so a stream holds at most one
// message of the largest size and a window of others.
//
// It refuses compressed messages, messages larger than its Bounds, and answers that are not gRPC.
// It has no interceptors, no name resolution, no load balancing, no metadata of its own and no
// retry policy. Whom to trust is in the TLS configuration of the connection that Dial returns.
//
// The Client owns one goroutine for each connection, its reader; Close ends and waits for it. A
// stream has none.
//
// Lock order: Client.mu and Stream.mu before a connection's lock, never both. Neither is held while
// flushing, for a flush may call a stream's sink.
package rpc
