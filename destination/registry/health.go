package registry

import "slices"

// Health is what a workload's proxy has found of its application, by the workload's name.
type Health struct {
	Meta
	UID   string // of the workload; may be empty
	Ports []PortHealth
}

// PortHealth is how the application behind a port is.
type PortHealth struct {
	Port      uint16
	Unhealthy bool
	Reason    string // of what is not healthy
}

// State is how the port's state is shown.
func (p *PortHealth) State() string {
	if p.Unhealthy {
		return "unhealthy"
	}
	return "healthy"
}

// Port returns what is known of a port, or nil.
func (h *Health) Port(number uint16) *PortHealth {
	if h == nil {
		return nil
	}
	for i := range h.Ports {
		if h.Ports[i].Port == number {
			return &h.Ports[i]
		}
	}
	return nil
}

// unhealthy are the ports that calls leave alone.
func (h *Health) unhealthy() (out []uint16) {
	if h == nil {
		return nil
	}
	for _, p := range h.Ports {
		if p.Unhealthy {
			out = append(out, p.Port)
		}
	}
	slices.Sort(out)
	return out
}

// Health returns what is known of a workload, or nil: of one that had the name before it nothing
// counts. Whoever read the slices that the workload is in reads them again when calls are to leave
// one of its ports alone, or no longer, so no topic is added.
func (v *View) Health(w *Workload) *Health {
	h := v.registry.healths.get(w.Key())
	if h == nil || h.UID != "" && w.UID != "" && h.UID != w.UID {
		return nil
	}
	return h
}

func (h *Health) updateLocked(r *Registry, o *Owner, present bool) {
	r.healths.update(h.Key(), owned[*Health]{h, o}, present)
}

// touchHealthLocked touches the services whose endpoints it matters to. What is unhealthy now is
// lost to them.
func (r *Registry) touchHealthLocked(name Name, was, is *Health) {
	before, after := was.unhealthy(), is.unhealthy()
	if slices.Equal(before, after) {
		return
	}
	t := touching{r, lacks(before, after)}
	t.servicesOf(r.slicesByWorkload[name])
	if w := r.workloads.get(name); w != nil {
		for _, addr := range w.own() {
			t.servicesOf(r.slicesByAddress[addr])
		}
	}
}
