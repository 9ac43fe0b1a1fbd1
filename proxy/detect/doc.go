// Package detect finds out from a connection's first bytes what is spoken on it: HTTP/1, HTTP/2, TLS, or something that is
// carried without being understood (opaque).
//
// HTTP that is taken for opaque escapes all that the proxy does with HTTP: the removal of headers that its sender may not
// set, and every policy. So the question is not what a correct client sends, but what a lenient server would take for HTTP.
// Opaque is only what no such server takes. Bytes that may still become HTTP are waited for; a connection that is slow to
// say what it is never becomes opaque for that.
//
// What cannot be told by any bytes is not decided here: a server that takes a request after bytes which no HTTP client
// sends (the PROXY protocol's header is one) is safe only on a port that is declared to be HTTP. Package proxy hands
// everything that arrives there to its HTTP engines, which refuse what they do not know.
//
// The package starts no goroutine and keeps nothing. Classify is pure; Reader reads on its caller's goroutine.
package detect
