// Package authorize decides who may call the workload's ports, how often, how many at a time, and
// which ports there are. It is pure: no sockets, no clock but for a grace and for the ages of
// metrics' labels, no goroutines. Callers are known by the SPIFFE ID that they proved, or by none;
// zero values admit nobody.
//
//	authorize.go    who may call
//	ratelimit.go    how often: limits, each of which a request is held against
//	bucket.go       which requests share a bucket, and how many buckets there are
//	gcra.go         how a bucket fills
//	concurrency.go  how many at a time
//	gradient.go     how that is found
package authorize
