package proxy

import "github.com/tulle-mesh/tulle/destination/api"

// inHTTP1 says which protocol the application behind e is spoken to in: the one that its port declares, else its caller's.
// Not all that is declared is so: gRPC, which HTTP/1 cannot carry, is HTTP/2 to whatever calls itself "http", and a probe goes
// as it comes, for the kubelet's works without a mesh.
func (x *exchange) inHTTP1(e *endpoint) bool {
	switch x.declared(e) {
	case api.Protocol_PROTOCOL_HTTP1:
		return x.http1 || !x.grpc
	case api.Protocol_PROTOCOL_HTTP2:
		return x.http1 && x.c.inbound && x.c.caller.id == "" && x.policy.probe(x.req)
	}
	return x.http1
}

// declared is what the services in front of a port call it. The inbound side asks its own: its caller may have come by the
// pod's address, of which nobody declares anything.
func (x *exchange) declared(e *endpoint) api.Protocol {
	if x.c.inbound {
		return x.policy.protocol
	}
	return e.protocol
}
