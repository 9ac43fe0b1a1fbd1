// Package allocations counts what a request allocates in real proxies. It contains tests only. They
// link neither Kubernetes' libraries nor grpc-go, which would take longer to compile than all else:
// the control plane is a script. Its goroutines, and the proxies', end with the test.
package allocations
