// Package slo keeps what service level objectives need to know of requests, and judges it: how much
// of a window's error budget is left, how fast it burns, and whether somebody must look.
//
// The budget of an objective of 99.9 % over 30 days is the one request in a thousand that may go
// wrong. A burn rate of 1 uses it up in just that window, one of 14.4 uses 2 % of it in an hour.
//
//	objective.go  what is promised of which requests
//	ring.go       counts by time: 5 s for an hour, minutes for three days, hours for the window
//	clock.go      a time that never goes back, and of which part of it anything is known
//	ledger.go     one objective's counts
//	book.go       those of all
//	burn.go       the pairs of windows by which an objective alerts, and how its budget stands
//	prometheus.go the same pairs as rules for Prometheus
//	keep.go       a file from which a book is read again after a restart, to a minute
//
// What is not known counts for nothing, for better or worse: rates are of the requests that were
// seen, and time that nobody saw has used up none of the budget. Since says from when on it is
// known.
//
// Time is an argument everywhere. The package starts no goroutines and has no locks: whoever keeps
// a Book has both. But for keep.go it does no I/O. It knows no Kubernetes and no proxies.
package slo
