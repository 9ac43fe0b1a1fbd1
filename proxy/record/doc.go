// Package record is where what was seen of requests goes.
//
// report.go tells viz what was counted: all series once, then those that changed, on one
// stream. Counters are cumulative, so what a lost report would have said the next one says. Nothing
// waits for viz. Run is its one goroutine, its caller's.
//
// accesslog.go writes a line for each request and opaque connection while somebody wants to read
// them (rule.go), from records of package outcome, as JSON (line.go) or as Envoy does (text.go). Of
// what a caller sends it shows who it says that it is and whom it calls, and no other header, no
// query and no body.
package record
