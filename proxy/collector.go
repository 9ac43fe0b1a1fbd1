package proxy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/wire"
)

// dialCollector connects to the collector of traces. One of the mesh is called as any callee is,
// and must prove the identity that destination names; whoever else takes them gets them in
// plaintext, by its name. What may be of the mesh is never taken for outside.
func (p *Proxy) dialCollector(ctx context.Context, addr string) (*wire.Conn, error) {
	e, err := p.collector(ctx, addr)
	if err != nil {
		return nil, err
	}
	if e != nil {
		return p.dialMesh(ctx, e, config.ALPNTCP)
	}
	nc, err := p.connectControl(ctx, addr)
	if err != nil {
		return nil, err
	}
	return wire.New(nc, nil), nil
}

// collector is one of the collector's endpoints, if it has a proxy; nil: it has none.
func (p *Proxy) collector(ctx context.Context, addr string) (*balance.Endpoint, error) {
	key := &api.Key{Key: &api.Key_Authority{Authority: addr}}
	answer := p.discovery.Target(key).Resolve(ctx, p.limits.DiscoveryWait)
	if answer == nil {
		return nil, errors.New("destination has not said yet whether it is of the mesh")
	}
	if answer.Resolution != api.Resolution_RESOLUTION_FOUND {
		return nil, nil
	}
	b := answer.Connection(false, "").Backends.Pick()
	if b == nil || b.Answer != 0 {
		return nil, errors.New("its route names nobody")
	}
	cluster := answer.Cluster(b)
	set := cluster.Current()
	if set == nil || len(set.All) == 0 {
		return nil, fmt.Errorf("no endpoint is ready for %s", cluster.Name)
	}
	e := set.Pick(balance.Key{Now: time.Now()})
	if !e.Meshed() {
		return nil, nil
	}
	return e, nil
}
