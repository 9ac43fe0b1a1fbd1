package tunnel

import (
	"net"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/balance"
)

// Where a cluster goes by its callers' addresses, opaque connections do too. Of its other keys they
// have none.
func TestAnOpaqueConnectionGoesByItsSource(t *testing.T) {
	set := func(keys ...*api.HashKey) *balance.EndpointSet {
		p, err := balance.Compile(&api.Cluster{Balancer: &api.Cluster_ConsistentHash{
			ConsistentHash: &api.ConsistentHash{Keys: keys,
				Table: &api.ConsistentHash_Maglev{Maglev: &api.Maglev{}}}}}, balance.Params{})
		check(t, err)
		return &balance.EndpointSet{Params: p}
	}
	key := func(s *balance.EndpointSet, host byte, port int) balance.Key {
		from := &net.TCPAddr{IP: net.IPv4(192, 0, 2, host), Port: port}
		return caller{from: from, try: 1}.key(s, nil)
	}
	header := &api.HashKey{Key: &api.HashKey_Header{Header: "x-user"}}
	s := set(header, &api.HashKey{Key: &api.HashKey_Source{}})
	one, again, other := key(s, 1, 1024), key(s, 1, 1025), key(s, 2, 1024)
	if !one.Hashed || one.Hash != again.Hash || one.Hash == other.Hash || one.Try != 1 {
		t.Errorf("keys %+v, %+v, %+v", one, again, other)
	}
	if k := key(set(header), 1, 1024); k.Hashed {
		t.Errorf("a connection has a header: %+v", k)
	}
}
