package proxy_test

import (
	"context"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/test/relay"
)

// through has the proxies that are run next hear what a change makes of destination's words. To
// destination they are one pod, whose service account is named.
func (m *testMesh) through(account string, change func(*api.Resource)) {
	m.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	m.t.Cleanup(cancel)
	source := func(id string) *spiffe.Source {
		src, err := m.dev.Source(ctx, spiffeid.RequireFromString(id))
		check(m.t, err)
		return src
	}
	server := spiffeid.RequireFromString(serverID("destination"))
	// the SVIDs of dev mode are of a pod called so
	m.write("pod-dev.yaml", podYAML(account, pod{name: "dev"}))
	r := &relay.Relay{
		To: m.dest, Change: change,
		Caller: spiffe.ClientConfig(source(workloadID(account)), server, []string{"h2"}, ""),
		Server: spiffe.ServerConfig(
			source(serverID("destination")), []string{"h2"}, spiffe.AnyPeer),
	}
	m.dest, _ = m.background("", r.Serve)
}
