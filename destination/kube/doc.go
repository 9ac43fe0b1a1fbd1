// Package kube is the only place that makes clients of the Kubernetes API, and the source that
// fills destination's registry from a cluster.
//
//	client.go   clients
//	kinds.go    the table of kinds that destination reads; a new kind is a row
//	convert.go  Kubernetes' objects → the registry's
//	route.go    the Gateway API's routes → the registry's policies
//	traffic.go  BackendTrafficPolicies → the registry's policies
//	source.go   an informer for each kind, and how current it is
//
// Informers keep the registry's form of an object and nothing else: a pod is some 10 KiB on the
// wire, and less than 1 KiB here.
//
// It refuses to decide anything: what objects mean is destination's business.
//
// The informers' goroutines belong to their factories; Source.Run waits for them.
package kube
