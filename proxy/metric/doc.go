// Package metric counts what a proxy did: one Cell of counters for each set of labels, one Counter
// for each reason.
//
// A connection or a route resolves its cells once and keeps the pointers; after that recording is
// atomic adds and nothing else: no map, no lock, no allocation. The proxy's reports to viz and its
// /metrics page read the same cells.
//
// Everything here is bounded. Beyond MaxSeries sets of labels, recordings go to one "other" cell
// for each direction, and Dropped says how often. A series that was idle for RetireAfter and that
// nobody holds any more makes room, so that the pods of old rollouts do not fill the table for
// ever. Counters are cumulative since the cell was made; a series that comes back after it was
// retired has a new id, so that a reader never sees a counter go backwards under one id.
//
// The package knows no wire format and no exposition format. It starts no goroutines.
package metric
