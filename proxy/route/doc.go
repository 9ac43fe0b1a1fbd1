// Package route compiles what destination says of a target into a Route, and finds a request's Rule
// in it: backends by weight, filters, redirects and fixed answers, timeouts, retries within a
// budget, and which responses are failures. What is carried unread has rules of its own, by the
// server name of the application's TLS or for all of it (connection.go). A message that is not
// understood whole is an error, never a guess.
//
// It is pure: no sockets, no clock of its own, no goroutines. It knows clusters by name only.
package route
