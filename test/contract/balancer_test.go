package contract

import (
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
)

// balancedBy is the lane's cluster with another balancer.
func balancedBy(cluster *api.Resource, set func(*api.Cluster)) *api.Resource {
	m := same(cluster)
	set(m.GetCluster())
	return m
}

func hashedBy(m *api.ConsistentHash, keys ...*api.HashKey) func(*api.Cluster) {
	m.Keys = keys
	return func(c *api.Cluster) {
		c.Balancer = &api.Cluster_ConsistentHash{ConsistentHash: m}
	}
}

// A proxy takes every balancer that destination may send, with the least and the most that its
// fields can say.
func TestEveryBalancerIsTaken(t *testing.T) {
	r := newRoad(t, 1)
	l := r.lanes[0]
	_, cluster, _, _ := r.open(l)
	r.becomes(l, 200)
	header := &api.HashKey{Key: &api.HashKey_Header{Header: "x-user"}}
	for name, set := range map[string]func(*api.Cluster){
		"least request": func(c *api.Cluster) {
			c.Balancer = &api.Cluster_LeastRequest{LeastRequest: &api.LeastRequest{}}
		},
		"least request of 32": func(c *api.Cluster) {
			c.Balancer = &api.Cluster_LeastRequest{LeastRequest: &api.LeastRequest{Choices: 32}}
		},
		"round robin": func(c *api.Cluster) {
			c.Balancer = &api.Cluster_RoundRobin{RoundRobin: &api.RoundRobin{}}
		},
		"random": func(c *api.Cluster) {
			c.Balancer = &api.Cluster_Random{Random: &api.Random{}}
		},
		"ring": hashedBy(&api.ConsistentHash{BoundedLoadPercent: 25,
			Table: &api.ConsistentHash_Ring{Ring: &api.Ring{MinSize: 1, MaxSize: 1 << 20}}},
			&api.HashKey{Key: &api.HashKey_Query{Query: "user"}}, header),
		"maglev": hashedBy(&api.ConsistentHash{
			Table: &api.ConsistentHash_Maglev{Maglev: &api.Maglev{TableSize: 655373}}},
			&api.HashKey{Key: &api.HashKey_Cookie{
				Cookie: &api.Cookie{Name: "sid", Path: "/", TtlMs: 1}}},
			&api.HashKey{Key: &api.HashKey_Source{Source: &api.Source{}}}),
		"slow start": func(c *api.Cluster) {
			c.SlowStart = &api.SlowStart{WindowMs: 1, MinWeightPercent: 100, Aggression: 0.1}
		},
	} {
		if rejected := r.rejection(resources(balancedBy(cluster, set))); rejected != nil {
			t.Errorf("%s is rejected: %s", name, rejected.Reason)
		}
		if status, body := r.get(l); status != 200 {
			t.Errorf("%s: a request gets %d %s", name, status, body)
		}
	}
}

// What a balancer cannot be is rejected by the cluster's name, and the last good one holds.
func TestABalancerOutOfBoundsIsRejected(t *testing.T) {
	r := newRoad(t, 1)
	l := r.lanes[0]
	_, cluster, _, _ := r.open(l)
	r.becomes(l, 200)
	maglev := func(size uint64) *api.ConsistentHash {
		return &api.ConsistentHash{
			Table: &api.ConsistentHash_Maglev{Maglev: &api.Maglev{TableSize: size}}}
	}
	source := &api.HashKey{Key: &api.HashKey_Source{Source: &api.Source{}}}
	for why, set := range map[string]func(*api.Cluster){
		"prime":         hashedBy(maglev(65536), source),
		"without a key": hashedBy(maglev(0)),
		"mesh's own": hashedBy(maglev(0),
			&api.HashKey{Key: &api.HashKey_Header{Header: "tulle-client-id"}}),
		"points": hashedBy(&api.ConsistentHash{Table: &api.ConsistentHash_Ring{
			Ring: &api.Ring{MinSize: 2, MaxSize: 1}}}, source),
		"choices": func(c *api.Cluster) {
			c.Balancer = &api.Cluster_LeastRequest{LeastRequest: &api.LeastRequest{Choices: 1}}
		},
		"slow start": func(c *api.Cluster) { c.SlowStart = &api.SlowStart{} },
	} {
		m := balancedBy(cluster, set)
		rejected := r.rejection(resources(m))
		if rejected == nil {
			t.Errorf("%s: it is taken", why)
			continue
		}
		if rejected.Kind != m.Kind || rejected.Name != m.Name || rejected.Version != m.Version ||
			!strings.Contains(rejected.Reason, why) {
			t.Errorf("%s: answered by %v", why, rejected)
		}
		if status, body := r.get(l); status != 200 {
			t.Errorf("%s: a request gets %d %s", why, status, body)
		}
	}
}
