package proxy

import "github.com/tulle-mesh/tulle/identity/spiffe"

// Source is what the proxy is and whom it trusts.
func (p *Proxy) Source() *spiffe.Source { return p.source }

// Connections is how many accepted ones are open.
func (p *Proxy) Connections() int64 { return p.metrics.Connections.Load() }
