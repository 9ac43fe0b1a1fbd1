// Package memory tells how near a process is to GOMEMLIMIT, for whoever sheds work before the
// collector takes all of the CPU or the kernel kills the process: the proxy and the control plane's
// servers alike. What is then refused is its caller's business. It has no goroutines.
package memory
