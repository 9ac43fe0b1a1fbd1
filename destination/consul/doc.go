// Package consul reads a Consul catalog: services, their instances and what its checks say of them,
// in the registry's terms.
//
//	source.go    which services there are: one is followed from when the catalog has it until it
//	             has not
//	follow.go    one question, asked again and again by blocking queries
//	service.go   one service's answers, and what of them the registry has been given
//	client.go    one question over HTTP
//	instance.go  Consul's JSON
//	mapping.go   instances → services, names and slices of endpoints
//	state.go     what cannot be read, said once, and what has not been read yet
//
// A service of the catalog is a service of one namespace, which the mesh's operator chooses, beside
// those that another source has there. It has no ports: each instance has its own. The names by
// which Consul's own DNS knows it are its names here.
//
// What a check says decides: an instance that is critical, or in maintenance, is not ready, and one
// that is deregistered is gone, both at once. While Consul is away what is known stays.
//
// It refuses to register anything, to run checks, and to believe an identity outside the mesh's
// trust domain. It follows no redirects, which would take its token elsewhere.
//
// Source.Run owns every goroutine: one for each service, and waits for them.
package consul
