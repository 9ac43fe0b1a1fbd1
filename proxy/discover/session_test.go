package discover

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/authorize"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/rpc"
	"github.com/tulle-mesh/tulle/proxy/wire"
	"github.com/tulle-mesh/tulle/test/output"
)

// newSession is one without a stream: what destination says is applied by hand.
func newSession(t testing.TB) *Session {
	metrics := metric.NewRegistry()
	return New(Options{
		Cfg: config.Config{Limits: config.DefaultLimits()}, Log: slog.New(slog.DiscardHandler),
		Attach: func() any { return nil }, Applied: func(balance.Change) {},
		Configure: func(*api.Config) error { return nil }, Metrics: metrics,
		Limited: metrics.Limited,
	})
}

// What is held is said once a stream: a proxy with a thousand targets would otherwise say a million
// things.
func TestWhatIsHeldIsSaidOnceAStream(t *testing.T) {
	d := newSession(t)
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range 100 {
		name := fmt.Sprintf("web-%d", i)
		d.applyAllLocked([]*api.Resource{{Kind: api.Kind_KIND_ENDPOINTS, Name: name, Version: "1",
			Body: &api.Resource_Endpoints{Endpoints: &api.Endpoints{}}}})
		d.targets.Add(name, &Target{key: &api.Key{Key: &api.Key_Authority{Authority: name}}})
	}
	for range 2 { // streams
		d.beginLocked(&rpc.Stream{})
		held := 0
		for _, m := range d.outbox {
			held += len(m.GetResume().GetHeld())
		}
		if len(d.outbox) != 102 || held != 100 || !d.outbox[101].GetResume().GetLast() {
			t.Errorf("%d requests name %d resources, want 101 subscriptions and one that names 100",
				len(d.outbox), held)
		}
	}
	d.stream = nil
}

// A proxy that cannot reach destination tries ever more seldom, but for a caller that waits for an
// answer, and then so often that the caller may yet get one.
func TestASessionComesBackForWhoeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newSession(t)
		dials := runAlone(t, d)
		wait := d.Cfg.Limits.DiscoveryWait
		for _, tt := range []struct {
			name        string
			what        func()
			least, most int64 // pauses are from a half to one and a half of what they are about
		}{
			{"nobody waits", func() { time.Sleep(wait) }, 0, 1},
			{"the caller of a new target waits", func() {
				key := &api.Key{Key: &api.Key_Authority{Authority: "web"}}
				if d.Target(key).Resolve(t.Context(), wait) != nil {
					t.Error("somebody answered")
				}
			}, 3, 13},
			{"the caller of a new port waits",
				func() { d.Port(8080).Wait(t.Context(), true) }, 3, 13},
			{"a thousand wait", func() {
				var all sync.WaitGroup
				for range 1000 {
					all.Go(func() { d.Port(8080).Wait(t.Context(), true) })
				}
				all.Wait()
			}, 3, 13},
		} {
			time.Sleep(time.Hour)
			before := dials.Load()
			tt.what()
			if n := dials.Load() - before; n < tt.least || n > tt.most {
				t.Errorf("%s: %d dials within %v, want %d to %d", tt.name, n, wait, tt.least,
					tt.most)
			}
		}
	})
}

// A proxy says once that destination is away, however often it tries anew and whoever waits, and
// once that it is back.
func TestThatDestinationIsAwayIsNewsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, log := newSession(t), &output.Buffer{}
		d.Log = slog.New(slog.NewTextHandler(log, nil))
		dials := runAlone(t, d)
		said := func(what string) int { return strings.Count(log.String(), what) }
		for times := range 2 {
			before := dials.Load()
			time.Sleep(time.Minute)
			d.Port(8080).Wait(t.Context(), true)
			if n := dials.Load() - before; n < 5 {
				t.Errorf("%d dials", n)
			}
			if n := said("the stream to destination ended"); n != times+1 {
				t.Errorf("%d times it is said that destination is away, want %d", n, times+1)
			}
			d.Apply(&api.DiscoverResponse{
				Message: &api.DiscoverResponse_Welcome{Welcome: &api.Welcome{}},
			})
			if n := said("destination is back"); n != times+1 {
				t.Errorf("%d times it is said that destination is back, want %d", n, times+1)
			}
		}
	})
}

// runAlone runs a session whose destination cannot be reached, and counts its dials.
func runAlone(t *testing.T, d *Session) *atomic.Int64 {
	dials := &atomic.Int64{}
	d.Identified = func(context.Context) error { return nil }
	d.Failures = metric.NewRegistry().Counter(metric.ControlPlaneError, "destination")
	d.Client = rpc.NewClient(rpc.Options{Dial: func(context.Context) (*wire.Conn, error) {
		dials.Add(1)
		return nil, errors.New("nobody is there")
	}})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { d.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return dials
}

// A scan through all ports must not make the proxy forget how strict the served ones are.
func TestAPortScanForgetsNoServedPort(t *testing.T) {
	d := newSession(t)
	in := d.Port(8080)
	m := d.defaultInbound(8080)
	m.DefaultAction = api.Action_ACTION_DENY
	m.Authorizations = []*api.Authorization{
		{Identities: []string{"spiffe://cluster.local/ns/shop/sa/friend"}},
	}
	a, err := d.compileInbound(m)
	if err != nil {
		t.Fatal(err)
	}
	in.update(a)
	in.Application("10.0.0.1:8080").First().MarkAnswered()
	for port := range uint16(5000) {
		d.Port(10000 + port)
	}
	if n := d.inbounds.Len(); n > 2*maxInboundPorts {
		t.Errorf("%d ports are remembered", n)
	}
	stranger := authorize.Caller{ID: "spiffe://cluster.local/ns/shop/sa/stranger"}
	if d.Port(8080).Verdict(stranger) == nil {
		t.Error("a stranger is let in after a scan")
	}
}
