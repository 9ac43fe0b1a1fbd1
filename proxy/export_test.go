package proxy

import "github.com/tulle-mesh/tulle/identity/spiffe"

// Source is what the proxy is and whom it trusts.
func (p *Proxy) Source() *spiffe.Source { return p.source }
