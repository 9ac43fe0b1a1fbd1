package contract

import (
	"sync/atomic"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/test/relay"
)

// changes are what becomes of destination's words on their way to one proxy; nil: nothing.
type changes struct {
	change atomic.Pointer[func(*api.Resource)]
}

func (c *changes) make(r *api.Resource) {
	if change := c.change.Load(); change != nil {
		(*change)(r)
	}
}

// relay returns where one listens that makes changes.
func (m *mesh) relay(to string) (*changes, string) {
	c := &changes{}
	r := &relay.Relay{
		To: to, Caller: m.as("web", "destination"), Change: c.make,
		Server: spiffe.ServerConfig(
			m.source(serverID("destination")), []string{"h2"}, spiffe.AnyPeer),
	}
	return c, m.serve(r.Serve)
}
