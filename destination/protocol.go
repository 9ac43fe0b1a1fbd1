package destination

import (
	"strings"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/policy"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/names"
)

// protocolOf says what a service's port speaks, where anybody said so: the opaque-ports annotation,
// the policy, then the port's appProtocol. Otherwise proxies detect, but for the ports that are
// opaque by their own configuration.
func (v *view) protocolOf(
	svc *registry.Service, port *registry.ServicePort, p *policy.Policy,
) api.Protocol {
	list, ok := v.annotation(&svc.Meta, names.AnnotationOpaquePorts)
	if ok && portListed(list, port.Number, svc.PortNamed) {
		return api.Protocol_PROTOCOL_OPAQUE
	}
	if p.IsOpaque(port.Number) {
		return api.Protocol_PROTOCOL_OPAQUE
	}
	return appProtocol(port.AppProtocol)
}

// portListed says whether a list such as "25,3306,6000-6999,redis" has a port. What means nothing
// lists nothing: the injector refuses it. So does a name that is nobody's here.
func portListed(list string, port uint16, named func(string) uint16) bool {
	for item, err := range crd.Ports(list) {
		if r, ok := item.Range(named); err == nil && ok && r.Contains(port) {
			return true
		}
	}
	return false
}

// appProtocol reads Kubernetes' standard names (KEP-3726), IANA's, and ours. One that we do not
// know says nothing: it may well be something over HTTP.
func appProtocol(name string) api.Protocol {
	switch strings.ToLower(name) {
	case "http", "kubernetes.io/ws":
		return api.Protocol_PROTOCOL_HTTP1
	case "http2", "h2c", "grpc", "kubernetes.io/h2c":
		return api.Protocol_PROTOCOL_HTTP2
	case "https", "tls", "kubernetes.io/wss", "grpcs":
		return api.Protocol_PROTOCOL_TLS
	case "tcp", "tulle.dev/opaque", "redis", "mysql", "mongo", "mongodb", "postgres", "postgresql",
		"smtp", "amqp", "kafka":
		return api.Protocol_PROTOCOL_OPAQUE
	}
	return api.Protocol_PROTOCOL_DETECT
}

// workloadOpaque says whether a workload's port is opaque by its own annotation, or its
// namespace's.
func (v *view) workloadOpaque(w *registry.Workload, port uint16) bool {
	list, ok := v.annotation(&w.Meta, names.AnnotationOpaquePorts)
	return ok && portListed(list, port, w.Port)
}

// modeOf reads who may call a workload. A mode that does not exist was meant to say something, and
// is not permission.
func (v *view) modeOf(w *registry.Workload) api.Mode {
	value, ok := v.annotation(&w.Meta, names.AnnotationMode)
	switch strings.ToLower(strings.TrimSpace(value)) {
	case "permissive":
		return api.Mode_MODE_PERMISSIVE
	case "strict":
		return api.Mode_MODE_STRICT
	}
	if ok && value != "" {
		return api.Mode_MODE_STRICT
	}
	if v.mesh.Strict {
		return api.Mode_MODE_STRICT
	}
	return api.Mode_MODE_PERMISSIVE
}
