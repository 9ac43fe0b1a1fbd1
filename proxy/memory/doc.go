// Package memory tells how near a process is to GOMEMLIMIT, in levels. The proxy and the control
// plane's servers ask, and shed work before the garbage collector takes all of the CPU or the
// kernel kills the process. What to refuse is the caller's business. The package has no goroutines.
package memory
