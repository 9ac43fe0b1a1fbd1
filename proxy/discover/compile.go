package discover

import (
	"errors"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/route"
)

// compiled is what a resource means, or why it cannot be used.
type compiled struct {
	route *route.Route
	port  *PortAnswer
	err   error
}

// compile makes what the resources of a message mean, before the lock is taken: regular expressions
// take their time, and every new connection takes the lock.
func (d *Session) compile(list []*api.Resource) map[*api.Resource]compiled {
	made := map[*api.Resource]compiled{}
	for _, m := range list {
		if m.Kind == api.Kind_KIND_ROUTE || m.Kind == api.Kind_KIND_INBOUND {
			made[m] = d.compileOne(m)
		}
	}
	return made
}

func (d *Session) compileOne(m *api.Resource) (c compiled) {
	switch body := m.Body.(type) {
	case *api.Resource_Route:
		c.route, c.err = route.Compile(body.Route, nil) // its budget is the target's
	case *api.Resource_Inbound:
		c.port, c.err = d.compileInbound(body.Inbound)
	default:
		c.err = errBody
	}
	return c
}

// compiledLocked is what a resource of the present message means.
func (d *Session) compiledLocked(m *api.Resource) compiled {
	c, made := d.compiled[m]
	if !made {
		c.err = errors.New("it came in parts, which only endpoints may")
	}
	return c
}
