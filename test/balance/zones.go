package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"google.golang.org/protobuf/proto"
)

// Half of the callers are in each of two zones, and all endpoints are fast. Who asks in another
// zone waits longer for the network.
const crossing = time.Millisecond

// zoning is how many endpoints are in each zone.
type zoning struct {
	a, b    int
	suffice bool // each zone's are enough for its callers
}

var zonings = []zoning{{10, 10, true}, {3, 17, true}, {1, 19, false}}

func zoneOf(caller uint64) string { return string(rune('a' + caller%2)) }

// zoned are the balancers that are compared, each as it is and with its own zone preferred.
func zoned() (out []balancer) {
	for _, b := range balancers() {
		switch b.name {
		case "EWMA", "round robin", "Maglev":
			near := balancer{b.name + ", own zone", proto.CloneOf(b.cluster)}
			near.cluster.LocalityPreference = &api.LocalityPreference{
				Prefer: api.Nearness_NEARNESS_ZONE}
			out = append(out, b, near)
		}
	}
	return out
}

func (z zoning) simulate(b balancer, length time.Duration) (result, error) {
	r := z.prepare()
	r.length = length
	return r.of(b)
}

func (z zoning) prepare() *run {
	r := &run{ready: z.a + z.b, grows: true}
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range r.ready {
		zone := "a"
		if i >= z.a {
			zone = "b"
		}
		id := fmt.Sprintf("10.0.0.%03d:8080", i)
		r.servers = append(r.servers, &server{events: &r.events, random: random,
			message: &api.Endpoint{Id: id, Address: id, Locality: &api.Locality{Zone: zone}}})
	}
	return r
}

// compareZones prints a table, and returns which bars were missed: nothing crosses while capacity
// suffices; and where it does not, a preference makes nobody wait much longer than none does.
func compareZones(w io.Writer, length time.Duration) (missed []string, err error) {
	fmt.Fprintln(w, "\n| endpoints in a, b | balancer | p50 ms | p99 ms | to another zone % |")
	fmt.Fprintln(w, "|---|---|---|---|---|")
	for _, z := range zonings {
		var plain result
		for i, b := range zoned() {
			r, err := z.simulate(b, length)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", b.name, err)
			}
			fmt.Fprintf(w, "| %d, %d | %s | %s | %s | %.2f |\n", z.a, z.b, r.name, ms(r.p50),
				ms(r.p99), r.crossed)
			if i%2 == 1 {
				missed = append(missed, z.judge(plain, r)...)
			}
			plain = r
		}
	}
	return missed, nil
}

// slowerNear is how many times the plain p99 that of a zone with too few endpoints may be.
const slowerNear = 3

func (z zoning) judge(plain, near result) (missed []string) {
	if z.suffice && near.crossed > 0 {
		missed = append(missed, fmt.Sprintf("%s: %.2f %% cross with %d and %d endpoints",
			near.name, near.crossed, z.a, z.b))
	}
	if near.p99 > slowerNear*plain.p99 {
		missed = append(missed, fmt.Sprintf(
			"%s: p99 is %v with %d and %d endpoints, and %v without a preference",
			near.name, near.p99, z.a, z.b, plain.p99))
	}
	return missed
}
