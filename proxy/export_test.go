package proxy

import (
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// limits are what a proxy lives by, unless a test says otherwise.
var limits = config.DefaultLimits()

// Source is what the proxy is and whom it trusts.
func (p *Proxy) Source() *spiffe.Source { return p.source }

// Connections is how many accepted ones are open.
func (p *Proxy) Connections() int64 { return p.metrics.Connections.Load() }

// Pending is how many requests the endpoints of an authority's default backends are believed to work on.
func (p *Proxy) Pending(authority string) (n int64) {
	t := p.discovery.target(&api.Key{Key: &api.Key_Authority{Authority: authority}})
	for _, b := range t.route.Load().fallback.backends.backends {
		for _, e := range b.cluster.set.Load().endpoints {
			n += e.ewma.pending.Load()
		}
	}
	return n
}

// Heads is what the heads of the requests that callers wait for take, in bytes.
func (p *Proxy) Heads() (n int64) {
	p.servers.each(func(c *serverConn) { n += c.heads.Load() })
	return n
}
