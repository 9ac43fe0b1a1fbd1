// Package contract holds the two ends of every API of ours to what its .proto promises. Its tests
// run real servers and real proxies over real sockets; where one end must say what no release of
// ours says, that end is scripted, and sends bytes.
//
// It contains tests only. The goroutines belong to the servers that a test starts, which end with
// the test.
package contract
