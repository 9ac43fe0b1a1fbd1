package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/backoff"
	"github.com/tulle-mesh/tulle/proxy/rpc"
)

const (
	discoverMethod = "/tulle.destination.v1.Destination/Discover"
	// between streams, as package discover has it
	backoffMin = 100 * time.Millisecond
	backoffMax = 5 * time.Second
)

// follower is a proxy of destination: one stream, its keys, and the versions that it holds.
type follower struct {
	index  int // the pod's, too
	fleet  *fleet
	client *rpc.Client
	keys   []*api.Key
	routes int                    // that the keys are answered with
	held   map[resourceKey]string // versions
}

type resourceKey struct {
	kind api.Kind
	name string
}

func newFollower(f *fleet, index int, cfg *tls.Config) *follower {
	keys := f.shape.keys(index)
	return &follower{
		index: index, fleet: f, keys: keys, held: map[resourceKey]string{},
		routes: len(f.shape.calls(index)),
		client: newClient(index, f.addr, cfg,
			rpc.Bounds{Request: api.MaxRequest, Response: api.MaxResponse}),
	}
}

// run keeps a stream until the context ends, as package discover does.
func (p *follower) run(ctx context.Context) {
	defer p.client.Close()
	retry := backoff.Backoff{Min: backoffMin, Max: backoffMax}
	for ctx.Err() == nil {
		began := time.Now()
		err := p.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		p.fleet.failed(err)
		select {
		case <-time.After(retry.After(began)):
		case <-ctx.Done():
		}
	}
}

func (p *follower) follow(ctx context.Context) error {
	s, err := p.client.Open(ctx, discoverMethod)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := p.greet(s); err != nil {
		return err
	}
	for {
		m := &api.DiscoverResponse{}
		if err := s.Recv(m); err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		p.apply(m)
	}
}

// greet says hello, subscribes to everything and names what is held.
func (p *follower) greet(s *rpc.Stream) error {
	hello := &api.Hello{Version: "scale", Capabilities: []string{
		api.CapabilityRequestHeaders, api.CapabilityResponseHeaders, api.CapabilityRedirect,
		api.CapabilityRewrite, api.CapabilityMirror, api.CapabilityCORS, api.CapabilityAnswer,
		api.CapabilityConfig, api.CapabilityAccessLog, api.CapabilityTracing,
		api.CapabilityLeastRequest,
		api.CapabilityRoundRobin, api.CapabilityRandom, api.CapabilityConsistentHash,
		api.CapabilityRateLimit, api.CapabilityRetryStatuses,
		api.CapabilityHedgePercentile}}
	all := []*api.DiscoverRequest{{Message: &api.DiscoverRequest_Hello{Hello: hello}}}
	for _, key := range p.keys {
		all = append(all, &api.DiscoverRequest{Message: &api.DiscoverRequest_Subscribe{
			Subscribe: &api.Subscribe{Key: key}}})
	}
	for _, m := range append(all, p.resume()) {
		if err := s.Send(m); err != nil {
			return fmt.Errorf("greet: %w", err)
		}
	}
	return nil
}

// resume names what is held, in one message: it is far smaller than one may be.
func (p *follower) resume() *api.DiscoverRequest {
	r := &api.Resume{Last: true}
	for k, version := range p.held {
		r.Held = append(r.Held, &api.Held{Kind: k.kind, Name: k.name, Version: version})
	}
	m := &api.DiscoverRequest{Message: &api.DiscoverRequest_Resume{Resume: r}}
	p.fleet.resumed(proto.Size(m))
	return m
}

func (p *follower) apply(m *api.DiscoverResponse) {
	resources, ok := m.Message.(*api.DiscoverResponse_Resources)
	if !ok {
		p.fleet.notResources(m)
		return
	}
	p.fleet.messages.Add(1)
	for _, r := range resources.Resources.GetResources() {
		k := resourceKey{r.Kind, r.Name}
		if r.Removed {
			delete(p.held, k)
			continue
		}
		if !r.More {
			p.held[k] = r.Version
		}
		p.fleet.heard(p.index, r)
	}
	if p.complete() {
		p.fleet.isBack(p.index)
	}
}

// complete says whether each key has its answer. Where nothing differs from what is held,
// destination says so by a message without resources.
func (p *follower) complete() bool {
	n := 0
	for k := range p.held {
		if k.kind == api.Kind_KIND_ROUTE {
			n++
		}
	}
	return n >= p.routes
}
