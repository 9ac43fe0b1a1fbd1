package destination

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/registry"
)

const (
	// maxRelays bounds the replicas that are told.
	maxRelays = 16
	// relayEvery is how soon a replica hears that what it knows was said again. A change it hears
	// at once.
	relayEvery = time.Second
	// relayBatch is how many words one message has, of at most some 1.3 KiB each.
	relayBatch = 512
)

// relay is a stream to another replica. It holds which ports and policies it has to speak of, and
// not what was said of them: what waits is bounded, and the latest is told.
type relay struct {
	wake     chan struct{}                   // holds one token while there is a change to tell
	pending  map[portOf]struct{}             // the healths' lock guards it
	policies map[registry.PolicyRef]struct{} // the standings' lock guards it
}

type portOf struct {
	pod  registry.Name
	port uint16
}

// Relay tells another replica what proxies say to this one. The generated code calls it.
func (d *Destination) Relay(
	_ *api.RelayRequest, rpc grpc.ServerStreamingServer[api.RelayResponse],
) error {
	ctx := rpc.Context()
	who, err := peerOf(ctx)
	if err != nil {
		return err
	}
	if own := d.cfg.Identity.SVID(); own == nil || who.ID != own.ID {
		return status.Errorf(codes.PermissionDenied, "%s is no replica of destination", who.ID)
	}
	r, err := d.healths.join()
	if err != nil {
		return err
	}
	defer d.healths.leave(r)
	d.standings.join(r)
	defer d.standings.leave(r)
	return r.tell(ctx, func(m *api.RelayResponse) {
		d.healths.take(r, m)
		d.standings.take(r, m)
	}, rpc.Send)
}

// join begins a relay, which has everything to tell.
func (h *healths) join() (*relay, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.relays) >= maxRelays {
		return nil, status.Errorf(codes.ResourceExhausted, "more than %d replicas ask", maxRelays)
	}
	r := &relay{wake: make(chan struct{}, 1), pending: map[portOf]struct{}{},
		policies: map[registry.PolicyRef]struct{}{}}
	for name, pod := range h.pods {
		for port, one := range pod.ports {
			if one.own {
				r.pending[portOf{name, port}] = struct{}{}
			}
		}
	}
	r.notify()
	h.relays[r] = struct{}{}
	return r, nil
}

func (h *healths) leave(r *relay) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.relays, r)
}

// relayLocked has other replicas told of a port: at once where it is news.
func (h *healths) relayLocked(pod registry.Name, port uint16, news bool) {
	for r := range h.relays {
		r.pending[portOf{pod, port}] = struct{}{}
		if news {
			r.notify()
		}
	}
}

func (r *relay) notify() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// tell sends what there is to tell, of which take adds some to a message, until the context ends.
func (r *relay) tell(
	ctx context.Context, take func(*api.RelayResponse), send func(*api.RelayResponse) error,
) error {
	tick := time.NewTicker(relayEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.wake:
		case <-tick.C:
		case <-ctx.Done():
			return ended(ctx)
		}
		for more := true; more; {
			m := &api.RelayResponse{}
			take(m)
			if more = len(m.Healths)+len(m.Standings) > 0; more {
				if err := send(m); err != nil {
					return err
				}
			}
		}
	}
}

// take adds some of what a relay has to tell, as it is now.
func (h *healths) take(r *relay, out *api.RelayResponse) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for at := range r.pending {
		delete(r.pending, at)
		pod := h.pods[at.pod]
		if pod == nil {
			continue // nobody says anything of it any more
		}
		left := pod.ports[at.port].until.Sub(now)
		if left <= 0 {
			continue
		}
		out.Healths = append(out.Healths, &api.PodHealth{
			Namespace: at.pod.Namespace, Pod: at.pod.Name, Uid: pod.uid,
			Health:     pod.ports[at.port].Health,
			LifetimeMs: uint64(left.Milliseconds()),
		})
		if len(out.Healths) == relayBatch {
			break
		}
	}
}

// relayed takes what another replica has heard.
func (d *Destination) relayed(from *peerStandings, m *api.RelayResponse) error {
	d.standings.hear(from, m.GetStandings())
	for _, one := range m.GetHealths() {
		lifetime := time.Duration(one.GetLifetimeMs()) * time.Millisecond
		err := d.healths.hear(finding{
			pod: registry.Name{Namespace: one.GetNamespace(), Name: one.GetPod()},
			uid: one.GetUid(), health: one.GetHealth(),
			lifetime: min(max(lifetime, 0), api.HealthLifetime),
		})
		if err != nil {
			return err
		}
	}
	return nil
}
