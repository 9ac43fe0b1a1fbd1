// Package span makes spans of the record of a request, by OpenTelemetry's semantic conventions: how
// they hang together, their names, their status (span.go), and what is said of them
// (attributes.go). Proxies export them and viz draws them, by the same rules.
//
// A span never holds a header's value, a body or a query's values. Its name is of a few words: the
// method and the route's name, or gRPC's method.
//
// It is a leaf, without goroutines.
package span
