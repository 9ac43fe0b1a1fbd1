package forward

import (
	"fmt"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"golang.org/x/net/http2/hpack"
)

// A request that waits for a connection to an endpoint goes to another when that endpoint leaves.
func TestWaitersOfALeavingEndpointGoElsewhere(t *testing.T) {
	p := newHarness(t)
	old, next := serve(t, "old"), serve(t, "next")
	p.update(old.Addr().String())
	hold := make(chan struct{})
	p.dialer.ControlContext = holdDials(hold)
	_, answer := p.web().request()
	p.update(next.Addr().String())
	close(hold)
	began := time.Now()
	if status, body := answer.wait(t); status != "200" || body != "next" {
		t.Errorf("status %s, body %q; want 200 from the endpoint that is there", status, body)
	}
	if d := time.Since(began); d > time.Second {
		t.Errorf("took %v", d)
	}
	if n := old.n.Load(); n > 1 {
		t.Errorf("dialed the endpoint that left %d times", n)
	}
}

// With no endpoint left, it waits for one as any request does.
func TestWaitersOfTheLastEndpointWaitForAnother(t *testing.T) {
	p := newHarness(t)
	old, next := serve(t, "old"), serve(t, "next")
	p.update(old.Addr().String())
	hold := make(chan struct{})
	p.dialer.ControlContext = holdDials(hold)
	_, answer := p.web().request()
	p.update()
	close(hold)
	p.update(next.Addr().String())
	if status, body := answer.wait(t); status != "200" || body != "next" {
		t.Errorf("status %s, body %q; want 200 from the endpoint that came", status, body)
	}
}

// What HTTP/1 cannot say is an error at once, however many connections there are.
func TestARequestThatCannotBeWrittenIsRefusedAtOnce(t *testing.T) {
	p := newHarness(t)
	app := serve(t, "yes")
	p.update(app.Addr().String())
	conn := p.web()
	for range 3 {
		_, answer := conn.request(hpack.HeaderField{Name: "x-bad", Value: "\x01"})
		if status, _ := answer.wait(t); status != "400" {
			t.Errorf("status %s, want 400", status)
		}
	}
	if _, answer := conn.request(); true {
		if status, _ := answer.wait(t); status != "200" {
			t.Errorf("after it: status %s, want 200", status)
		}
	}
	if n := app.n.Load(); n != 1 {
		t.Errorf("made %d connections, want 1", n)
	}
}

// A name that is not the cluster's is reached as it stands.
func TestAnOutsideAuthorityIsPassedThrough(t *testing.T) {
	p := newHarness(t)
	app := serve(t, "outside")
	key := &api.Key{Key: &api.Key_Authority{Authority: app.Addr().String()}}
	target := p.session.Target(key)
	route := &api.Route{Resolution: api.Resolution_RESOLUTION_OUTSIDE,
		Protocol: api.Protocol_PROTOCOL_DETECT}
	p.say(&api.Resource{Kind: api.Kind_KIND_ROUTE, Name: api.KeyString(key),
		Body: &api.Resource_Route{Route: route}})
	conn := p.Outbound(target)
	conn.http1 = true
	_, answer := conn.request()
	if status, body := answer.wait(t); status != "200" || body != "outside" {
		t.Errorf("status %s, body %q", status, body)
	}
}

// What nobody refers to any more may be forgotten; a connection that still does goes on with what
// it knew.
func TestAForgottenTargetServesUntilItIsKnownAnew(t *testing.T) {
	p := newHarness(t)
	app := serve(t, "yes")
	p.update(app.Addr().String())
	conn := p.web()
	for i := range limits.MaxTargets {
		other := fmt.Sprintf("other-%d:80", i)
		p.session.Target(&api.Key{Key: &api.Key_Authority{Authority: other}})
	}
	if !conn.side.(*toMesh).target.Gone() {
		t.Fatal("the target is still remembered")
	}
	_, answer := conn.request()
	if status, body := answer.wait(t); status != "200" {
		t.Errorf("status %s, %q", status, body)
	}
}
