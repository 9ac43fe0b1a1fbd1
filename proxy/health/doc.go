// Package health asks the pod's own application whether it is well, port by port, as destination
// says for each (an Inbound's HealthCheck), and tells what it finds.
//
//	check.go    what a port's check is, from the message
//	ask.go      one check: HTTP/1 or HTTP/2, gRPC, or a connection
//	checker.go  one port: when it is asked, and what follows from the answers
//	set.go      the ports of the workload
//
// Each check is a connection of its own, to the address at which inbound requests reach the
// application, and in plaintext: what the port's policy asks of callers does not concern it, and a
// server that accepts no connections any longer is found by it. Nothing here is on a request's way.
//
// It refuses to decide what becomes of an endpoint: that is destination's business. It never asks
// anything but the pod's own addresses, unless whoever makes a Set has a way to ask of its own, as
// meshctl dev has with its commands.
//
// Set owns one goroutine for each port that has ever had a check; Stop ends them and waits. The
// reader of a check's connection ends with the check.
package health
