// Package record is where what was seen of requests goes.
//
// report.go tells viz what was counted: all series once, then those that changed, on one
// stream. Counters are cumulative, so what a lost report would have said the next one says. Nothing
// waits for viz. Run is its one goroutine, its caller's.
//
// records.go shows viz single requests, on another stream (batch.go, message.go), while somebody
// wants to see them: those that a tap asks for (tap.go, matcher.go), within its budget, and a few
// of those that are traced or do not go well. What was not shown is lost, and counted. On the same
// stream viz asks how endpoints are doing (endpoints.go). Run is its caller's goroutine; it has
// another one while there is a stream, and waits for it.
//
// accesslog.go writes a line for each request and opaque connection while somebody wants to read
// them (rule.go), from records of package outcome, as JSON (line.go) or as Envoy does (text.go). Of
// what a caller sends it shows who it says that it is and whom it calls, and no other header, no
// query and no body.
package record
