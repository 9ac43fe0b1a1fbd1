package contract

import (
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/await"
)

// A stream hears of what was found before it began, and only after it has brought resources: an
// older destination would end it at the first word of a check, and sends none of the checks.
func TestHealthIsSaidAgainOnANewStream(t *testing.T) {
	m := newMesh(t)
	first, second := newScript(m), newScript(m)
	s := m.session(first.addr, config.DefaultLimits())
	await.Receive(t, "the session has begun", first.resumed)
	found := &api.Health{Port: 80, State: api.State_STATE_UNHEALTHY, Sequence: 1}
	s.Health(&api.Health{Port: 80, State: api.State_STATE_HEALTHY})
	s.Health(found)
	s.Port(1)
	await.True(t, "what was sent after it has arrived", func() bool {
		return await.Receive(t, "a key", first.asked) == "inbound/1"
	})
	if n := len(first.healths); n != 0 {
		t.Errorf("%d words of health come before any resource", n)
	}
	for _, r := range []*script{first, second} {
		if r == second {
			s.move(second.addr)
			await.Receive(t, "the session has moved", second.resumed)
		}
		for range 2 { // the second word on what it does not know comes after what it says by itself
			r.send(&api.Resource{Kind: unknownNumber, Name: "later", Version: version()})
			r.rejects("a kind that there is not")
		}
		if n := len(r.healths); n != 1 {
			t.Fatalf("%d words of health come after the first resources", n)
		}
		if got := <-r.healths; got.State != found.State || got.Sequence != 1 {
			t.Errorf("said is %v", got)
		}
	}
	s.Health(&api.Health{Port: 80, State: api.State_STATE_HEALTHY, Sequence: 2})
	if got := await.Receive(t, "a change", second.healths); got.Sequence != 2 {
		t.Errorf("said is %v", got)
	}
}
