// Package tunnel carries opaque connections: bytes both ways, TCP or TLS over it, spliced in the
// kernel where both ends are plain. outbound.go takes them from the application to the mesh,
// inbound.go to the application; silence.go waits with a connection on which nobody has spoken yet.
// tunnel.go joins two connections (conn.go: one of them), each direction of which is a flow
// (flow.go).
//
// What was cut is never passed on as an end: a reset, or TLS without its alert, reaches the other
// side as a reset. A policy that no longer admits a caller cuts its tunnels. It knows no HTTP but
// by the detector's word, and then gives the connection back.
//
// A connection is carried by the goroutine of whoever handed it over, with one more for the way
// back, which ends with it.
package tunnel
