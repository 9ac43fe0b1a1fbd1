// Package otlp is a proxy's tracer: it decides which requests are traced, makes spans of their
// records by the rules of package span (span.go, resource.go), and exports them to a collector as
// OTLP, over gRPC or HTTP (grpc.go, http.go). The few messages of OTLP that this needs are written
// by hand (message.go): the generated ones, and what they link, are larger than the proxy's whole
// HTTP/2. Where there is no collector it decides, and viz alone is told.
//
// Tracer.Run is the one goroutine, its caller's. It ends some time after Stop, when what waits has
// been exported, or could not be.
package otlp
