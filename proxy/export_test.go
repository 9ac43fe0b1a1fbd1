package proxy

import (
	"context"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/forward"
)

// limits are what a proxy lives by, unless a test says otherwise.
var limits = config.DefaultLimits()

// Source is what the proxy is and whom it trusts.
func (p *Proxy) Source() *spiffe.Source { return p.source }

// Connections is how many accepted ones are open.
func (p *Proxy) Connections() int64 { return p.metrics.Connections.Load() }

// Pending is how many requests the endpoints of an authority's default backends are believed to
// work on.
func (p *Proxy) Pending(authority string) (n int64) {
	a := p.discovery.Target(&api.Key{Key: &api.Key_Authority{Authority: authority}}).Now()
	for _, c := range a.Members {
		for _, e := range c.Current().All {
			n += e.Pending()
		}
	}
	return n
}

// Heads is what the heads of the requests that callers wait for take, in bytes.
func (p *Proxy) Heads() (n int64) {
	p.forward.Servers.Each(func(c *forward.ServerConn) { n += c.Heads.Load() })
	return n
}

// Held is what is held for peers that are slow to take it, in bytes.
func (p *Proxy) Held() int { return p.held.Held() }

// LookUp finds the addresses of a host.
type LookUp = func(ctx context.Context, host string) ([]string, error)

// FindViz has a proxy that does not run yet look up viz's replicas otherwise than by DNS.
func (p *Proxy) FindViz(f LookUp) { p.lookUp = f }
