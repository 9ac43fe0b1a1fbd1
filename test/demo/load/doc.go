// Package load sends requests to the demo and counts every one exactly: what the mesh says of
// itself is compared with it.
//
// A Generator sends a mix of all routes in the background, and on demand a run: so many requests of
// one kind, at a rate. Runs are asked for over HTTP (Handler, and Client for the other side). It
// refuses runs without bounds.
//
// Background and Run own the goroutines they start and return when these have ended.
package load
