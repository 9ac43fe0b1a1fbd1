// Command fuzz runs every fuzz target of the module for a while, as `make fuzz` does, as many at a
// time as there are CPUs.
//
// A line for each target says how many inputs it ran, and how many of them were new. Where one
// fails, all that it said follows, and the file that holds the input; then it exits 3.
//
// With -keep it then copies into testdata/fuzz, to be committed, what the runs on this machine
// found: for each target, the small inputs that together reach what the seeds do not. Every `go
// test` runs those, and every later run starts from them.
package main
