// Package discover keeps what destination says: one stream, on which every target and every port
// that is in use is subscribed (session.go); the resources that came, whole or in parts (store.go);
// and what they mean, as snapshots that are swapped whole: the answer for a Target (targets.go) and
// for one of the workload's own ports (ports.go). What was once learned stays for as long as
// destination is away. What cannot be used is rejected, with its reason, and the last good one
// holds.
//
// It does not dial endpoints. Run, the one goroutine with a sender beside it, is its caller's; one
// mutex guards the store, and what waits for a change of endpoints is told with no lock held.
package discover
