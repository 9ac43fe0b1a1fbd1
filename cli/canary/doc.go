// Package canary moves a route's calls from one version to another, step by step, as long as the
// new one does well: what `meshctl canary` does.
//
// plan.go decides, and is a function of what was measured: it knows no clock and no cluster. run.go
// waits, measures and sets, by functions that it is given. route.go finds the two versions in an
// HTTPRoute or a GRPCRoute, and changes their weights and nothing else.
//
// It refuses to judge by too few requests, to go on where somebody else has changed the weights,
// and to leave a canary that nobody watches: whoever interrupts Run has it rolled back.
//
// Run starts no goroutines.
package canary
