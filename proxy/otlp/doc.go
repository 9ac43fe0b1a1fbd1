// Package otlp is a proxy's tracer: it decides which requests are traced, makes spans of their
// records by OpenTelemetry's semantic conventions (span.go, attributes.go), and exports them to a
// collector as OTLP, over gRPC or HTTP (grpc.go, http.go). The few messages of OTLP that this needs
// are written by hand (message.go): the generated ones, and what they link, are larger than the
// proxy's whole HTTP/2.
//
// A span never holds a header's value, a body or a query's values. Its name is of a few words: the
// method and the route's name, or gRPC's method.
//
// Tracer.Run is the one goroutine, its caller's. It ends some time after Stop, when what waits has
// been exported, or could not be.
package otlp
