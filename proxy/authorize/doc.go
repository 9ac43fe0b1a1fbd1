// Package authorize decides who may call the workload's ports, and which ports there are. It is
// pure: no sockets, no clock but for a grace and for the ages of metrics' labels, no goroutines.
// Callers are known by the SPIFFE ID that they proved, or by none; zero values admit nobody.
package authorize
