package policy

import (
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/crd"
)

// healthCheck makes what a pod's proxy is told of how to ask its application.
func healthCheck(h *crd.HealthCheck) *api.HealthCheck {
	if h == nil {
		return nil
	}
	out := &api.HealthCheck{
		IntervalMs: milliseconds(h.IntervalLength()), TimeoutMs: milliseconds(h.TimeoutLength()),
		HealthyThreshold:   number(h.HealthyThreshold),
		UnhealthyThreshold: number(h.UnhealthyThreshold), Port: number(h.Port),
	}
	switch {
	case h.HTTP != nil:
		out.Check = &api.HealthCheck_Http{Http: httpCheck(h.HTTP)}
	case h.GRPC != nil:
		out.Check = &api.HealthCheck_Grpc{Grpc: &api.GRPCCheck{Service: h.GRPC.Service}}
	default:
		out.Check = &api.HealthCheck_Tcp{Tcp: &api.TCPCheck{}}
	}
	return out
}

func httpCheck(h *crd.HTTPCheck) *api.HTTPCheck {
	out := &api.HTTPCheck{Path: h.Path, Host: h.Host}
	for _, s := range h.ExpectedStatuses {
		out.Statuses = append(out.Statuses, &api.StatusRange{Min: s.Min, Max: s.Max})
	}
	return out
}
