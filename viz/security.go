package viz

import "github.com/tulle-mesh/tulle/viz/api"

// several stands for an ID where a row has more than one.
const several = "(several)"

// protection is how a row's connections are protected, and between whom.
type protection struct {
	kinds          uint // a bit for each api.Security
	client, server string
	reason         string
	seen           bool
}

func (p *protection) note(s *series) {
	l := s.labels
	p.kinds |= 1 << uint(l.security) // one that is known: see checkLabels
	if l.security == api.Security_SECURITY_UNSPECIFIED {
		return // it reached no endpoint
	}
	if l.security != api.Security_SECURITY_MTLS {
		p.reason = insecureReason(l)
	}
	client, server := s.ids()
	if p.seen && client != p.client {
		client = several
	}
	if p.seen && server != p.server {
		server = several
	}
	p.client, p.server, p.seen = client, server, true
}

func (p *protection) has(s api.Security) bool { return p.kinds&(1<<uint(s)) != 0 }

// name is the one word for all connections of a row; requests that reached no endpoint do not
// count.
func (p *protection) name() string {
	const unspecified = 1 << uint(api.Security_SECURITY_UNSPECIFIED)
	kinds := p.kinds &^ unspecified
	for s := range securityNames {
		if kinds == 1<<uint(s) {
			return securityName(s)
		}
	}
	if kinds == 0 {
		return "none"
	}
	return "mixed"
}

func (p *protection) encrypted() bool {
	return p.name() == securityName(api.Security_SECURITY_MTLS)
}
