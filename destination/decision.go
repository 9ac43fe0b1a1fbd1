package destination

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
	"github.com/tulle-mesh/tulle/destination/registry"
	"github.com/tulle-mesh/tulle/identity/names"
)

// Decision is a field of an object that has made an answer what it is, where the answer itself does
// not say so.
type Decision struct {
	About     string `json:"about"` // one of the constants below
	Kind      string `json:"kind"`  // empty: it is the mesh's default
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	Field     string `json:"field,omitempty"`
	Value     string `json:"value,omitempty"`
}

// What decisions are about.
const (
	AboutTarget   = "target"   // what an address or a name leads to
	AboutProtocol = "protocol" // what is spoken there
	AboutMode     = "mode"     // whether callers without an identity are taken
)

// decisions are those about what a key leads to, for a caller.
func (v *view) decisions(key *api.Key, c caller) []Decision {
	if port := key.GetInboundPort(); port != 0 {
		return v.inboundDecisions(registry.Name{Namespace: c.namespace, Name: c.pod})
	}
	t, err := v.resolve(key, c.namespace)
	if err != nil || t.resolution != api.Resolution_RESOLUTION_FOUND {
		return nil
	}
	if t.workload != nil {
		return []Decision{{AboutTarget, "Pod", t.workload.Namespace, t.workload.Name,
			"status.podIPs", t.addr.Addr().String()}}
	}
	svc := t.service
	about := Decision{AboutTarget, "Service", svc.Namespace, svc.Name, "spec.ports", ""}
	port := svc.Port(t.port)
	switch {
	case t.addr.IsValid():
		about.Kind, about.Field, about.Value = "EndpointSlice of Service", "endpoints",
			t.addr.String()
	case t.hostname != "":
		about.Field, about.Value = "the pod of hostname", t.hostname
	default:
		about.Value = strings.TrimSpace(port.Name + " " + strconv.Itoa(int(port.Number)))
	}
	out := []Decision{about}
	if port != nil {
		out = append(out, v.protocolDecision(frontPort{svc, port}, c.namespace)...)
	}
	return out
}

// protocolDecision says what protocolOf goes by.
func (v *view) protocolDecision(front frontPort, namespace string) []Decision {
	svc, port := front.service, front.port
	list, ok, inherited := v.annotationOf(&svc.Meta, names.AnnotationOpaquePorts)
	switch {
	case ok && portListed(list, port.Number, svc.PortNamed):
		return []Decision{noted(AboutProtocol, "Service", &svc.Meta, inherited,
			names.AnnotationOpaquePorts, list)}
	case v.policy(svc, port, namespace).IsOpaque(port.Number):
		return []Decision{{AboutProtocol, crd.Kind, svc.Namespace, v.mesh.host(svc.Key()),
			"spec.opaquePorts", strconv.Itoa(int(port.Number))}}
	case port.AppProtocol != "":
		return []Decision{{AboutProtocol, "Service", svc.Namespace, svc.Name,
			fmt.Sprintf("spec.ports[%d].appProtocol", port.Number), port.AppProtocol}}
	}
	return nil
}

// inboundDecisions say what modeOf goes by.
func (v *view) inboundDecisions(pod registry.Name) []Decision {
	w := v.Workload(pod)
	if w == nil {
		w = &registry.Workload{Meta: registry.Meta{Namespace: pod.Namespace}}
	}
	mode, ok, inherited := v.annotationOf(&w.Meta, names.AnnotationMode)
	if !ok || mode == "" {
		return []Decision{{About: AboutMode, Value: "the mesh's default"}}
	}
	return []Decision{noted(AboutMode, "Pod", &w.Meta, inherited, names.AnnotationMode, mode)}
}

func noted(about, kind string, own *registry.Meta, inherited bool, key, value string) Decision {
	field := "metadata.annotations[" + key + "]"
	out := Decision{about, kind, own.Namespace, own.Name, field, value}
	if inherited {
		out.Kind, out.Namespace, out.Name = "Namespace", "", own.Namespace
	}
	return out
}
