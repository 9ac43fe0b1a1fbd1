package viz

import (
	"context"
	"hash/crc32"
	"slices"
	"strings"
	"time"
)

// Proxies report to every replica of viz, and look for them seldom, for proxies are many. The
// replicas, who are few, look often, and each tells its proxies when they have changed.

// replicasEvery is how often a replica looks for the others.
const replicasEvery = 5 * time.Second

// FollowReplicas looks up viz's own name, which has the addresses of all replicas, until the
// context ends. lookUp is net.Resolver's LookupHost.
func (v *Server) FollowReplicas(
	ctx context.Context, host string, lookUp func(context.Context, string) ([]string, error),
) {
	tick := time.NewTicker(replicasEvery)
	defer tick.Stop()
	for {
		once, cancel := context.WithTimeout(ctx, replicasEvery)
		found, err := lookUp(once, host)
		cancel()
		if err != nil {
			v.cfg.Log.Debug("cannot look for other replicas", "err", err)
		} else {
			v.replicas.Store(replicasMark(found))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// replicasMark is another number for other addresses, and never 0.
func replicasMark(addresses []string) uint32 {
	addresses = slices.Sorted(slices.Values(addresses))
	return crc32.ChecksumIEEE([]byte(strings.Join(addresses, " "))) | 1
}
