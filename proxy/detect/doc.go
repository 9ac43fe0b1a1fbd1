// Package detect finds out from a connection's first bytes what is spoken on it: HTTP/1, HTTP/2,
// TLS, or something that is carried without being understood (opaque).
//
// HTTP that is taken for opaque escapes all that the proxy does with HTTP: the removal of headers
// that its sender may not set, and every policy. So the question is not what a correct client
// sends, but what a lenient server would take for HTTP. Opaque is only what no such server takes. A
// connection that is slow to say what it is never becomes opaque for that.
//
// Bytes that may still become HTTP are either waited for, or given to the server as they come while
// Reader goes on from the first of them: until it is sure they are at most the beginning of a
// request line, without a colon in it, and so hold no header field for any server. Once they are a
// request nothing more is given. That lets a server answer a bare word, such as ZooKeeper's ruok.
// Line does the same for what is Opaque already, as long as its first line has not ended: bytes
// that no method has may still be one to a server that takes any word.
//
// What cannot be told by any bytes is not decided here: a server that takes a request after what no
// client of HTTP sends is safe only on a port that is declared to be HTTP. Package proxy hands
// everything that arrives there to its HTTP engines, which refuse what they do not know.
//
// The package starts no goroutine and keeps nothing. Classify is pure; Reader reads on its caller's
// goroutine.
package detect
