package route

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tulle-mesh/tulle/destination/api"
)

// tlsRule is a rule for connections of the application's own TLS, by server name. Wildcards are
// kept from their dot on: "*.example.com" is ".example.com".
type tlsRule struct {
	*Rule
	names map[string]bool // nil: every one
}

// OnlyTLS reports whether connections are told apart by their TLS, so that nothing else is taken.
func (r *Route) OnlyTLS() bool { return len(r.tls) > 0 }

// Connection returns the rule for a connection that is carried unread: of TLS, whose caller asked
// for a server name ("" if it named none), or of anything else. First match wins.
func (r *Route) Connection(tls bool, serverName string) *Rule {
	switch {
	case len(r.tls) > 0 && tls:
		return r.named(serverName)
	case len(r.tls) > 0:
		return r.Fallback
	case len(r.tcp) > 0:
		return r.tcp[0]
	}
	return r.Fallback
}

// named is the rule for a server name, which is a DNS name in any case (RFC 6066 §3).
func (r *Route) named(serverName string) *Rule {
	serverName = strings.ToLower(serverName)
	for i := range r.tls {
		if r.tls[i].matches(serverName) {
			return r.tls[i].Rule
		}
	}
	return r.Fallback
}

// matches takes time by the name's length squared, which its bound holds down.
func (u *tlsRule) matches(name string) bool {
	switch {
	case u.names == nil:
		return true
	case name == "" || name[0] == '.' || len(name) > api.MaxHost:
		return false
	case u.names[name]:
		return true
	}
	for i := strings.IndexByte(name, '.'); i >= 0; i = strings.IndexByte(name, '.') {
		if u.names[name[i:]] {
			return true
		}
		name = name[i+1:]
	}
	return false
}

// compileConnections reads the rules for what is carried unread.
func (r *Route) compileConnections(m *api.Route) error {
	for i, um := range m.Tls {
		u, err := r.compileTLSRule(um)
		if err != nil {
			return fmt.Errorf("TLS rule %d (%s): %w", i, um.Origin.GetRule(), err)
		}
		r.tls = append(r.tls, u)
	}
	for i, um := range m.Tcp {
		u, err := r.compileCarried(um.Origin, um.Backends)
		if err != nil {
			return fmt.Errorf("TCP rule %d (%s): %w", i, um.Origin.GetRule(), err)
		}
		r.tcp = append(r.tcp, u)
	}
	return nil
}

func (r *Route) compileTLSRule(m *api.TLSRule) (u tlsRule, err error) {
	for _, name := range m.ServerNames {
		if err := api.CheckServerName(name); err != nil {
			return u, err
		}
		if u.names == nil {
			u.names = map[string]bool{}
		}
		u.names[strings.TrimPrefix(name, "*")] = true
	}
	u.Rule, err = r.compileCarried(m.Origin, m.Backends)
	return u, err
}

// compileCarried refuses filters: nothing is read that they could change.
func (r *Route) compileCarried(origin *api.Origin, list []*api.Backend) (*Rule, error) {
	u := &Rule{name: origin.GetRule(), Route: r, Backends: r.Fallback.Backends}
	for _, b := range list {
		if len(b.Filters) > 0 {
			return nil, errors.New("a connection that is carried unread has no filters")
		}
	}
	if len(list) == 0 {
		return u, nil
	}
	var err error
	u.Backends, err = r.compileBackends(list)
	return u, err
}
