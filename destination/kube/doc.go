// Package kube is the only place that makes clients of the Kubernetes API. It also makes the
// informers that destination reads the cluster through, which keep of each object only what
// destination uses.
//
// It refuses to decide anything: what objects mean is destination's business.
//
// The informers' goroutines belong to their factory: whoever starts it waits in its Shutdown.
package kube
