package main

import (
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

// The service. All together have room for ten times the load, and a slow endpoint for nearly twice
// its fair share of it: what is measured is where requests go, not how long a queue grows that
// cannot but grow.
const (
	callers    = 100
	users      = 10_000 // whose requests a hash tells apart
	rate       = 8000.0 // requests a second, of all callers
	fast       = 30     // endpoints
	slow       = 5
	failing    = 2
	starting   = 3
	workers    = 16 // of each endpoint
	serviced   = 5 * time.Millisecond
	slower     = 8                      // times as long as that
	failsIn    = time.Millisecond       // half of what a failing endpoint is asked
	cold       = 10                     // times as long a starting endpoint takes at first
	warm       = 5 * time.Second        // after which it is as fast as a fast one
	roundTrip  = 500 * time.Microsecond // of the network
	mostTries  = 3                      // of a request, the first included
	startsWhen = 0.25                   // of a run's time
	window     = 100 * time.Millisecond // in which an endpoint may be the busiest
)

// balancers are what is compared, in the order of the table.
func balancers() []balancer {
	const window = 10 * time.Second
	least := &api.Cluster_LeastRequest{LeastRequest: &api.LeastRequest{}}
	robin := &api.Cluster_RoundRobin{RoundRobin: &api.RoundRobin{}}
	ewma := &api.Cluster_Ewma{Ewma: &api.EWMA{}}
	slowly := &api.SlowStart{WindowMs: uint64(window.Milliseconds())}
	maglev := &api.ConsistentHash_Maglev{Maglev: &api.Maglev{}}
	return []balancer{
		{"EWMA", &api.Cluster{Balancer: ewma}},
		{"EWMA, slow start", &api.Cluster{Balancer: ewma, SlowStart: slowly}},
		{"least request", &api.Cluster{Balancer: least}},
		{"least request, slow start", &api.Cluster{Balancer: least, SlowStart: slowly}},
		{"round robin", &api.Cluster{Balancer: robin}},
		{"round robin, slow start", &api.Cluster{Balancer: robin, SlowStart: slowly}},
		{"random", &api.Cluster{Balancer: &api.Cluster_Random{Random: &api.Random{}}}},
		{"ring", hashed(&api.ConsistentHash{Table: &api.ConsistentHash_Ring{Ring: &api.Ring{}}})},
		{"Maglev", hashed(&api.ConsistentHash{Table: maglev})},
		{"Maglev, bounded load 25 %",
			hashed(&api.ConsistentHash{Table: maglev, BoundedLoadPercent: 25})},
	}
}

type balancer struct {
	name    string
	cluster *api.Cluster
}

func hashed(m *api.ConsistentHash) *api.Cluster {
	m.Keys = []*api.HashKey{{Key: &api.HashKey_Header{Header: "x-user"}}}
	return &api.Cluster{Balancer: &api.Cluster_ConsistentHash{ConsistentHash: m}}
}
