package discover

import (
	"slices"

	"github.com/tulle-mesh/tulle/destination/api"
)

// healths is what was found of the application behind the workload's ports, to be said again.
type healths struct {
	found []*api.Health // one for each port
	heard bool          // the stream has brought resources
}

// Health tells destination of what was found of a port, now and as long as it holds. It does not
// block.
func (d *Session) Health(m *api.Health) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.found = slices.DeleteFunc(d.found, func(last *api.Health) bool {
		return last.Port == m.Port
	})
	d.found = append(d.found, m)
	d.sayHealthLocked(m)
}

// sayHealthLocked waits for the stream's first resources. A destination that knows nothing of
// checks would end the stream at a Health, and has sent by then what ends the checks.
func (d *Session) sayHealthLocked(m *api.Health) {
	if d.heard {
		d.sendLocked(&api.DiscoverRequest{Message: &api.DiscoverRequest_Health{Health: m}})
	}
}

// heardLocked is after resources have come: the first of a stream have everything said again.
func (d *Session) heardLocked() {
	if d.heard {
		return
	}
	d.heard = true
	for _, m := range d.found {
		d.sayHealthLocked(m)
	}
}

// repeatHealth says everything once more, so that it goes on to count. That nobody looks need be
// said once only.
func (d *Session) repeatHealth() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range d.found {
		d.sayHealthLocked(m)
	}
	d.found = slices.DeleteFunc(d.found, func(m *api.Health) bool {
		return m.State == api.State_STATE_UNCHECKED
	})
}
