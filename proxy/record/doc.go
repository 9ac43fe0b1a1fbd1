// Package record tells viz what was counted: all series once, then those that changed, on one
// stream. Counters are cumulative, so what a lost report would have said the next one says. Nothing
// waits for viz. Run is its one goroutine, its caller's.
package record
