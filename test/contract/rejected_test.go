package contract

import (
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/await"
)

// What a real proxy rejects a real destination hears of: it counts it by kind, says once in its log
// which proxy cannot use what and why, and goes on with the next version. The proxy keeps the last
// route, and with it the cluster that no later route names.
func TestARejectionReachesWhoeverRunsDestination(t *testing.T) {
	w := newTown(t)
	w.service("a", "192.0.2.1")
	relay, addr := w.relay(w.addr)
	s := w.session(addr, config.DefaultLimits())
	await.True(t, "a is known", func() bool { return s.endpoints("a") == 1 })

	later := func(r *api.Resource) {
		if route := r.GetRoute(); route != nil {
			route.Protocol = 99
		}
	}
	relay.change.Store(&later)
	w.owner.Apply(changed(split("a", 0, 2)))
	const counted = "tulle_destination_rejected_resources_total"
	await.True(t, "the rejection is counted", func() bool { return w.figure(counted) == 1 })
	// it is said after it is counted
	await.True(t, "the log says who", func() bool {
		return strings.Contains(w.said.String(), "pod=dev")
	})
	for _, want := range []string{
		"a proxy cannot use a resource", "kind=route", "name=authority/a.shop.svc.cluster.local:80",
		"a protocol (99)", "namespace=shop",
	} {
		if !strings.Contains(w.said.String(), want) {
			t.Errorf("the log does not say %q", want)
		}
	}
	w.service("a", "192.0.2.1", "192.0.2.2")
	await.True(t, "the kept route's cluster changes", func() bool { return s.endpoints("a") == 2 })

	relay.change.Store(nil)
	w.owner.Apply(changed(split("a", 1, 3)))
	await.True(t, "the next route is used",
		func() bool { return len(s.to("a").Now().Members) == 3 })
	s.settle(1, 2)
	if n := w.figure(counted); n != 1 {
		t.Errorf("%v rejections are counted", n)
	}
}
