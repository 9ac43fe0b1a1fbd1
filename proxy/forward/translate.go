package forward

import (
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/balance"
)

// inHTTP1 says which protocol the application behind e is spoken to in: the one that its port
// declares, else its caller's. Not all that is declared is so: gRPC, which HTTP/1 cannot carry, is
// HTTP/2 to whatever calls itself "http", and a probe goes as it comes, for the kubelet's works
// without a mesh.
func (x *exchange) inHTTP1(e *balance.Endpoint) bool {
	switch x.c.side.declared(x, e) {
	case api.Protocol_PROTOCOL_HTTP1:
		return x.http1 || !x.grpc
	case api.Protocol_PROTOCOL_HTTP2:
		return x.http1 && x.c.side.probed(x)
	}
	return x.http1
}

// kindFor says what e is spoken to in. A meshed endpoint is never reached in any other way than
// through its proxy.
func (x *exchange) kindFor(e *balance.Endpoint) kind {
	switch {
	case e.Meshed():
		return meshHTTP2
	case x.tunnel, x.inHTTP1(e):
		// An Upgrade is what applications know; extended CONNECT over cleartext HTTP/2 hardly any.
		// Forward proxies, too, take CONNECT in HTTP/1.
		return plainHTTP1
	}
	return plainHTTP2
}
