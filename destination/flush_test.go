package destination

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// What a flush looks at is what has changed, and not what is watched: of 20 keys and of 2,000, one
// answer where one set of endpoints is another, and two for a new key.
func TestAFlushLooksAtWhatHasChanged(t *testing.T) {
	for _, keys := range []int{20, 2000} {
		reg := registry.New()
		for i := range keys {
			apply(reg, numbered(i, "192.0.2.1")...)
		}
		apply(reg, numbered(keys, "192.0.2.1")...)
		h, b := newHub(reg, testMesh()), newBacklog()
		s := manyKeys(t, h, keys)
		looks := func(what string, want uint64) {
			t.Helper()
			h.publishLosses(b)
			h.publish(b)
			before := h.examined.Load()
			if err := s.flush(); err != nil {
				t.Fatal(err)
			}
			if n := h.examined.Load() - before; n != want {
				t.Errorf("of %d keys, %s: %d answers were looked at, want %d", keys, what, n, want)
			}
		}
		h.publishLosses(b)
		h.publish(b)
		looks("nothing", 0)
		apply(reg, numbered(keys/2, "192.0.2.1", "192.0.2.2")...)
		looks("an endpoint more", 1)
		apply(reg, numbered(keys/2, "192.0.2.2")...)
		looks("an endpoint less", 1)
		key := authority(fmt.Sprintf("s%d", keys))
		sub := &api.DiscoverRequest_Subscribe{Subscribe: &api.Subscribe{Key: key}}
		if err := s.receive(&api.DiscoverRequest{Message: sub}); err != nil {
			t.Fatal(err)
		}
		looks("a key more", 2)
		un := &api.DiscoverRequest_Unsubscribe{Unsubscribe: &api.Unsubscribe{Key: key}}
		if err := s.receive(&api.DiscoverRequest{Message: un}); err != nil {
			t.Fatal(err)
		}
		looks("a key less", 0)
		s.close()
		if n := h.size(); n != 0 || len(s.watcher.take()) != 0 {
			t.Errorf("%d cells are left", n)
		}
	}
}

// sentAt is a message's resources, and when it was sent.
type sentAt struct {
	at    time.Duration
	lines []string
}

// town is a hub at work, and a stream that asks for 50 services, on a clock of its own.
type town struct {
	reg   *registry.Registry
	began time.Time
	sent  []sentAt
	extra [services][]string // addresses, by service
}

const services = 50

var base = []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"}

func inTown(t *testing.T, f func(w *town)) {
	synctest.Test(t, func(t *testing.T) {
		w := &town{reg: registry.New(), began: time.Now()}
		for i := range services {
			apply(w.reg, numbered(i, base...)...)
		}
		h := newHub(w.reg, testMesh())
		s := manyKeys(t, h, services)
		s.send = func(m *api.DiscoverResponse) error {
			one := sentAt{at: time.Since(w.began)}
			for _, r := range m.GetResources().GetResources() {
				one.lines = append(one.lines, line(r))
			}
			w.sent = append(w.sent, one)
			return nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go h.run(ctx)
		go func() {
			for ctx.Err() == nil {
				select {
				case <-ctx.Done():
				case <-s.watcher.wake:
					if err := s.flush(); err != nil {
						t.Error(err)
					}
				}
			}
		}()
		// What the services made is published, and the rest after what is done each second is over.
		time.Sleep(time.Second + 2*minRest)
		synctest.Wait()
		w.sent = nil
		f(w)
		cancel()
		synctest.Wait()
	})
}

func (w *town) now() time.Duration { return time.Since(w.began) }

// name is the cluster's.
func name(i int) string { return fmt.Sprintf("s%d.shop.svc.cluster.local:80", i) }

// grow gives a service one endpoint more.
func (w *town) grow(i int) {
	w.extra[i] = append(w.extra[i], fmt.Sprintf("192.0.3.%d", len(w.extra[i])+1))
	apply(w.reg, numbered(i, slices.Concat(base, w.extra[i])...)...)
}

// However many endpoints are added meanwhile, one that is gone is told at once, and first in its
// message.
func TestALossIsSentAtOnceAndFirstBesideAStormOfAdditions(t *testing.T) {
	inTown(t, func(w *town) {
		const storm, lossAfter = 500, 307 // additions, one a millisecond
		var lossAt time.Duration
		for n := range storm {
			w.grow(1 + n%(services-1))
			if n == lossAfter {
				time.Sleep(300 * time.Microsecond)
				apply(w.reg, numbered(0, base[1:]...)...)
				lossAt = w.now()
			}
			time.Sleep(time.Millisecond)
		}
		synctest.Wait()
		for _, m := range w.sent {
			if len(m.lines) > 0 && m.lines[0] == "EndpointsDelta "+name(0)+" -192.0.2.1:80" {
				if m.at != lossAt {
					t.Errorf("the loss is sent %v after it came", m.at-lossAt)
				}
				return
			}
		}
		t.Error("the loss is first in no message")
	})
}

// Additions of one burst are sent in few messages, the first of them at once.
func TestAdditionsAreBatchedUnderChurnAndWaitForNothingWhenQuiet(t *testing.T) {
	inTown(t, func(w *town) {
		began := w.now()
		const steps = 500 // a millisecond apart
		for n := range steps {
			w.grow(n % services)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(w.sent) == 0 || w.sent[0].at != began {
			t.Fatalf("the first addition waits: %v, added at %v", w.sent, began)
		}
		most := int(steps*time.Millisecond/minRest) + 2
		if n := len(w.sent); n > most {
			t.Errorf("%d changes are sent in %d messages, want %d at most", steps, n, most)
		}

		w.sent = nil
		quiet := w.now()
		w.grow(0)
		synctest.Wait()
		if len(w.sent) != 1 || w.sent[0].at != quiet {
			t.Errorf("after a quiet time an addition waits: %v, added at %v", w.sent, quiet)
		}
	})
}

// A batch of additions that is being answered may have met a loss on its way: who watches it is not
// left to wait for the rest of the batch.
func TestALossThatABatchHasMetIsPublishedAtOnce(t *testing.T) {
	reg := registry.New()
	apply(reg, numbered(0, base...)...)
	h, b := newHub(reg, testMesh()), newBacklog()
	s := manyKeys(t, h, 1)
	h.publishLosses(b)
	h.publish(b)
	c := numberedCell(t, h, 0)
	apply(reg, numbered(0, base[1:]...)...)
	if !h.compute(c) {
		t.Fatal("the loss changes nothing")
	}
	b.changed[c] = struct{}{} // as publish does
	s.watcher.take()
	h.publishLosses(b)
	if _, woken := s.watcher.take()[c]; !woken || len(b.changed) != 0 {
		t.Errorf("the watcher is told: %v; %d cells wait", woken, len(b.changed))
	}
}

// In one flush, what is lost comes before what is new, which comes before what nothing needs.
func TestLossesComeFirstInAFlush(t *testing.T) {
	reg := registry.New()
	for i := range 3 {
		apply(reg, numbered(i, "192.0.2.1", "192.0.2.2", "192.0.2.3")...)
	}
	h, b := newHub(reg, testMesh()), newBacklog()
	s := manyKeys(t, h, 3)
	var got []string
	s.send = func(m *api.DiscoverResponse) error {
		for _, r := range m.GetResources().GetResources() {
			got = append(got, line(r))
		}
		return nil
	}
	h.publishLosses(b)
	h.publish(b)
	apply(reg, numbered(0, "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")...)
	apply(reg, numbered(2, "192.0.2.1", "192.0.2.3")...)
	h.publishLosses(b)
	h.publish(b)
	for _, req := range []*api.DiscoverRequest{
		{Message: &api.DiscoverRequest_Subscribe{
			Subscribe: &api.Subscribe{Key: authority("nothing")}}},
		{Message: &api.DiscoverRequest_Unsubscribe{
			Unsubscribe: &api.Unsubscribe{Key: authority("s1")}}},
	} {
		if err := s.receive(req); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"EndpointsDelta " + name(2) + " -192.0.2.2:80",
		"EndpointsDelta " + name(0) + " +192.0.2.4:80",
		"Route authority/nothing",
		"Cluster " + name(1) + " removed", "Endpoints " + name(1) + " removed",
		"Route authority/s1 removed",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("sent were\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A key that comes and goes between two flushes leaves nothing, and one that goes and comes back
// is as it was.
func TestKeysThatToggleBetweenFlushesLeaveNothing(t *testing.T) {
	reg := registry.New()
	apply(reg, numbered(0, "192.0.2.1")...)
	h := newHub(reg, testMesh())
	s := manyKeys(t, h, 1)
	toggle := func(key *api.Key, on bool) {
		m := &api.DiscoverRequest{Message: &api.DiscoverRequest_Unsubscribe{
			Unsubscribe: &api.Unsubscribe{Key: key}}}
		if on {
			m = &api.DiscoverRequest{Message: &api.DiscoverRequest_Subscribe{
				Subscribe: &api.Subscribe{Key: key}}}
		}
		if err := s.receive(m); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		toggle(authority("s0"), false)
		toggle(authority("s0"), true)
		toggle(authority(fmt.Sprint("x", i)), true)
		toggle(authority(fmt.Sprint("x", i)), false)
	}
	if n := len(s.said.added) + len(s.said.dropped); n != 0 {
		t.Errorf("%d keys are remembered", n)
	}
	before := h.examined.Load()
	if err := s.flush(); err != nil || h.examined.Load() != before || h.size() != 2 {
		t.Errorf("%d answers were looked at, %d cells are there: %v",
			h.examined.Load()-before, h.size(), err)
	}
}

// What a proxy says is read no faster than its limit lets it, however it toggles its keys; the
// keys that it begins with are read at once.
func TestRequestsOfAStreamAreLimited(t *testing.T) {
	s := startServer(t, cluster)
	s.requests = requestLimit{perSecond: 50, burst: 10}
	close(s.gate.open)
	c := s.proxy(t) // Resume is the first of ten
	key := authority("web")
	began := time.Now()
	for range 10 {
		c.subscribe(key)
		c.unsubscribe(key)
	}
	c.subscribe(authority("last"))
	for {
		if all := c.next().GetResources().GetResources(); len(all) > 0 &&
			line(all[len(all)-1]) == "Route authority/last" {
			break
		}
	}
	if took, least := time.Since(began), 200*time.Millisecond; took < least {
		t.Errorf("22 requests are read in %v, of which 10 may be at once and 50 a second", took)
	}
}
