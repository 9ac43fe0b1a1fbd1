package destination

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/api/destinationgrpc"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/backoff"
)

const (
	// peerPort is what destination's Service calls the port that proxies use, and replicas, too.
	peerPort = "tls"

	peerBackoffMin = 100 * time.Millisecond
	peerBackoffMax = 5 * time.Second

	// A replica that has gone without a word is noticed within the two of them.
	peerPingAfter   = 10 * time.Second
	peerPingTimeout = 5 * time.Second
)

// peers are the addresses of the other replicas: of the pods that are behind a service with this
// one. One that is ending may still have proxies.
func (v *view) peers() (out []string) {
	self := v.mesh.Replica
	for _, own := range v.SlicesOf(self) {
		for _, slice := range v.Slices(own.Service) {
			number, ok := slice.Port(peerPort)
			for i := range slice.Endpoints {
				ep := &slice.Endpoints[i]
				if ok && ep.Address.IsValid() && ep.Workload.Name != "" && ep.Workload != self {
					out = append(out, netip.AddrPortFrom(ep.Address, number).String())
				}
			}
		}
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return out[:min(len(out), maxRelays)]
}

// followPeers hears from every other replica what proxies say to it, until the context ends.
func (d *Destination) followPeers(ctx context.Context) {
	if d.cfg.Mesh.Replica.Name == "" {
		return
	}
	w := newWatcher()
	list := d.hub.watch(question{peers: true}, w)
	defer d.hub.release(list, w)
	following := map[string]context.CancelFunc{}
	var all sync.WaitGroup
	defer all.Wait()
	for ctx.Err() == nil {
		now := list.answer.Load().peers
		for _, address := range now {
			if following[address] == nil {
				one, cancel := context.WithCancel(ctx)
				following[address] = cancel
				all.Go(func() { d.followPeer(one, address) })
			}
		}
		for address, cancel := range following {
			if !slices.Contains(now, address) {
				cancel()
				delete(following, address)
			}
		}
		select {
		case <-w.wake:
			w.take()
		case <-ctx.Done():
		}
	}
	for _, cancel := range following {
		cancel()
	}
}

// followPeer hears from one of them, again and again.
func (d *Destination) followPeer(ctx context.Context, address string) {
	retry := backoff.Backoff{Min: peerBackoffMin, Max: peerBackoffMax}
	for ctx.Err() == nil {
		began := time.Now()
		err := d.hearPeer(ctx, address)
		if ctx.Err() != nil {
			return
		}
		wait := retry.After(began)
		d.cfg.Log.Info("another replica of destination tells nothing", "addr", address,
			"error", err, "retry", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

func (d *Destination) hearPeer(ctx context.Context, address string) error {
	own, err := d.cfg.Identity.Wait(ctx)
	if err != nil {
		return err
	}
	conn, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(credentials.NewTLS(
			spiffe.ClientConfig(d.cfg.Identity, own.ID, []string{"h2"}, ""))),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(api.MaxResponse)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: peerPingAfter, Timeout: peerPingTimeout}),
	)
	if err != nil {
		return fmt.Errorf("dial replica %s: %w", address, err)
	}
	defer conn.Close()
	stream, err := destinationgrpc.NewDestinationClient(conn).Relay(ctx, &api.RelayRequest{})
	if err != nil {
		return fmt.Errorf("ask replica %s: %w", address, err)
	}
	d.peers.Add(1)
	defer d.peers.Add(-1)
	told := &peerStandings{}
	defer d.standings.forget(told)
	for {
		m, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("hear replica %s: %w", address, err)
		}
		if err := d.relayed(told, m); err != nil {
			return err
		}
	}
}
