package destination

import (
	"slices"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// checkOf is how the application behind a workload's port is asked whether it is well: as the first
// of the services says that lead there, and have a check.
func (v *view) checkOf(fronts []frontPort) *api.HealthCheck {
	for _, front := range fronts {
		use := v.use(front.service, front.port, front.service.Namespace)
		if use == nil || use.Check == nil {
			continue
		}
		if ref := refOf(use.Checker); !slices.Contains(v.used, ref) {
			v.used = append(v.used, ref)
		}
		return use.Check
	}
	return nil
}

// checkedInbounds are the Inbounds of a workload's ports that have a check, which its proxy is sent
// unasked: a port must be checked before somebody calls it.
func (v *view) checkedInbounds(workload registry.Name) (out []*resource) {
	for _, port := range v.checkedPorts(workload) {
		v.used = nil
		out = append(out, v.computeInbound(question{
			port: uint32(port), namespace: workload.Namespace, pod: workload.Name,
		}).resources...)
	}
	return out
}

func (v *view) checkedPorts(workload registry.Name) (out []uint16) {
	if workload.Name == "" {
		return nil
	}
	for _, slice := range v.SlicesOf(workload) {
		for _, port := range slice.Ports {
			if !slices.Contains(out, port.Number) &&
				v.checkOf(v.portsBefore(workload, port.Number)) != nil {
				out = append(out, port.Number)
			}
		}
	}
	slices.Sort(out)
	return out[:min(len(out), api.MaxHealthPorts)]
}
