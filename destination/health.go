package destination

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/registry"
)

const (
	// maxHealthPods bounds the pods of which something is kept: as many as there are streams, on
	// several replicas together.
	maxHealthPods = 4 * maxStreams
	// sweepEvery is by how much something may count longer than it should.
	sweepEvery = 5 * time.Second
)

// healths is what proxies say of their applications. What counts of it is told to the registry, so
// that it is a part of the state from which every answer is computed.
type healths struct {
	owner   *registry.Owner
	changes *prometheus.CounterVec // by state

	mu     sync.Mutex // guards what follows
	pods   map[registry.Name]*podHealth
	relays map[*relay]struct{}
}

// podHealth is what is said of one pod.
type podHealth struct {
	uid    string // another pod of the same name has another; may be empty
	latest uint64 // the greatest sequence
	ports  map[uint16]heard
}

// heard is what is said of one port, and until when it counts.
type heard struct {
	*api.Health
	until time.Time
	own   bool // it came on a stream of this replica's, and not from another replica
}

func newHealths(reg *registry.Registry) *healths {
	return &healths{
		owner: reg.Owner("health"), pods: map[registry.Name]*podHealth{},
		relays: map[*relay]struct{}{},
		changes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_destination_health_changes_total",
			Help: "Times that the application behind a pod's port was found to be in another " +
				"state, by the new state."},
			[]string{"state"}),
	}
}

// finding is what is said of a pod's port.
type finding struct {
	pod      registry.Name
	uid      string
	health   *api.Health
	lifetime time.Duration // for which it counts
	own      bool          // it is said to this replica
}

// Hear takes what is found of a pod's port by whoever checks it in the place of the pod's proxy. It
// counts for api.HealthLifetime.
func (d *Destination) Hear(pod registry.Name, m *api.Health) error {
	return d.healths.hear(finding{pod: pod, health: m, lifetime: api.HealthLifetime, own: true})
}

// hear takes what the stream's proxy says of its own pod.
func (s *stream) hear(m *api.Health) error {
	return s.healths.hear(finding{
		pod: registry.Name{Namespace: s.caller.namespace, Name: s.caller.pod},
		uid: s.caller.uid, health: m, lifetime: api.HealthLifetime, own: true,
	})
}

// check refuses what no proxy says.
func (f *finding) check() error {
	m := f.health
	switch state := m.GetState(); {
	case state == api.State_STATE_UNSPECIFIED,
		api.State_name[int32(state)] == "":
		return status.Errorf(codes.InvalidArgument, "Health has a state (%d) that is not known",
			state)
	case m.GetPort() == 0 || m.GetPort() > 65535:
		return status.Errorf(codes.InvalidArgument, "Health has port %d, not 1 to 65535",
			m.GetPort())
	case len(m.GetReason()) > api.MaxHealthReason:
		return status.Errorf(codes.InvalidArgument, "Health has a reason of more than %d bytes",
			api.MaxHealthReason)
	case f.pod.Name == "":
		return status.Error(codes.InvalidArgument,
			"Health is of a pod, and the caller's certificate names none")
	}
	return nil
}

// hear keeps the latest that is said of a port. What was said before it, and comes later by another
// way, does not count.
func (h *healths) hear(f finding) error {
	if err := f.check(); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	pod, err := h.podLocked(f)
	if err != nil || pod == nil {
		return err
	}
	m, port := f.health, uint16(f.health.GetPort())
	last, known := pod.ports[port]
	switch {
	case known && last.GetSequence() > m.GetSequence():
		return nil
	case !known && len(pod.ports) >= api.MaxHealthPorts:
		return status.Errorf(codes.ResourceExhausted, "Health of more than %d ports",
			api.MaxHealthPorts)
	}
	next := heard{m, time.Now().Add(f.lifetime), f.own}
	if known && last.GetSequence() == m.GetSequence() && last.until.After(next.until) {
		next.until = last.until
	}
	pod.ports[port], pod.latest = next, max(pod.latest, m.GetSequence())
	news := !known || last.GetState() != m.GetState() || last.GetReason() != m.GetReason()
	if news {
		h.changes.WithLabelValues(stateName(m.GetState())).Inc()
		h.publishLocked(f.pod)
	}
	if f.own {
		h.relayLocked(f.pod, port, news)
	}
	return nil
}

// podLocked is the pod that something is said of; nil: it was of one that had the name before.
func (h *healths) podLocked(f finding) (*podHealth, error) {
	pod := h.pods[f.pod]
	switch {
	case pod == nil && len(h.pods) >= maxHealthPods:
		return nil, status.Errorf(codes.ResourceExhausted, "Health of more than %d pods",
			maxHealthPods)
	case pod != nil && pod.uid == f.uid:
		return pod, nil
	case pod != nil && pod.latest > f.health.GetSequence():
		return nil, nil
	}
	pod = &podHealth{uid: f.uid, ports: map[uint16]heard{}}
	h.pods[f.pod] = pod
	return pod, nil
}

// publishLocked tells the registry what counts of a pod.
func (h *healths) publishLocked(name registry.Name) {
	pod := h.pods[name]
	out := &registry.Health{
		Meta: registry.Meta{Namespace: name.Namespace, Name: name.Name}, UID: pod.uid,
	}
	for port, one := range pod.ports {
		if one.GetState() == api.State_STATE_UNCHECKED {
			continue
		}
		out.Ports = append(out.Ports, registry.PortHealth{
			Port:      port,
			Unhealthy: one.GetState() == api.State_STATE_UNHEALTHY,
			Reason:    printable(one.GetReason()),
		})
	}
	slices.SortFunc(out.Ports, func(a, b registry.PortHealth) int {
		return int(a.Port) - int(b.Port)
	})
	change := registry.Change{Set: []registry.Object{out}}
	if len(out.Ports) == 0 {
		change = registry.Change{Delete: []registry.Object{out}}
	}
	h.owner.Apply(change)
}

// printable leaves out of a pod's words what a terminal would obey.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
}

// run forgets what nobody has said again, until the context ends.
func (h *healths) run(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			h.sweep()
		case <-ctx.Done():
			return
		}
	}
}

func (h *healths) sweep() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for name, pod := range h.pods {
		before := len(pod.ports)
		for port, one := range pod.ports {
			if now.After(one.until) {
				delete(pod.ports, port)
			}
		}
		if len(pod.ports) != before {
			h.publishLocked(name)
		}
		if len(pod.ports) == 0 {
			delete(h.pods, name)
		}
	}
}

// count is how many ports are in a state.
func (h *healths) count(state api.State) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, pod := range h.pods {
		for _, one := range pod.ports {
			if one.GetState() == state {
				n++
			}
		}
	}
	return n
}

func (h *healths) register(metrics prometheus.Registerer) {
	metrics.MustRegister(h.changes)
	for _, state := range []api.State{
		api.State_STATE_HEALTHY, api.State_STATE_UNHEALTHY,
	} {
		metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "tulle_destination_checked_ports",
			Help:        "Pods' ports that are checked, by what was found.",
			ConstLabels: prometheus.Labels{"state": stateName(state)},
		}, func() float64 { return float64(h.count(state)) }))
	}
}

// stateName is how a state is shown: "healthy".
func stateName(s api.State) string {
	return strings.ToLower(strings.TrimPrefix(s.String(), "STATE_"))
}
