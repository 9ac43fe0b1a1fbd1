package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/test/svid"
)

// svidLife is longer than any run.
const svidLife = time.Hour

// fleet is all proxies of one destination.
type fleet struct {
	shape shape
	addr  string

	followers []*follower
	running   sync.WaitGroup
	cancel    context.CancelFunc

	messages atomic.Int64 // with resources
	failures atomic.Int64 // of streams
	largest  atomic.Int64 // Resume, in bytes

	back   atomic.Pointer[tally]  // who has had answers to everything
	change atomic.Pointer[change] // what is watched for

	mu  sync.Mutex // guards why
	why error      // the last failure
}

// change is one of a service's endpoints, and who has heard of it.
type change struct {
	endpoints string // the resource's name
	heard     *tally
}

// newFleet makes the proxies of the first pods of a cluster. Nothing runs before run.
func newFleet(s shape, ca *svid.CA, addr string, proxies int) (*fleet, error) {
	f := &fleet{shape: s, addr: addr}
	for i := range proxies {
		service := i / s.Pods
		who := pod{service: service, number: i}
		src, err := ca.Source(namespaceOf(service), serviceName(service), who.name(), svidLife)
		if err != nil {
			return nil, err
		}
		f.followers = append(f.followers, newFollower(f, i, clientTLS(src, serverDestination)))
	}
	return f, nil
}

// run starts all of them at once, as after a restart of destination, until stop.
func (f *fleet) run(ctx context.Context) {
	ctx, f.cancel = context.WithCancel(ctx)
	for _, p := range f.followers {
		f.running.Go(func() { p.run(ctx) })
	}
}

// stop ends them and waits.
func (f *fleet) stop() {
	f.cancel()
	f.running.Wait()
}

// all are the proxies' numbers.
func (f *fleet) all() []int {
	out := make([]int, len(f.followers))
	for i := range out {
		out[i] = i
	}
	return out
}

// watching are the proxies that ask for a service.
func (f *fleet) watching(service int) (out []int) {
	for _, p := range f.followers {
		for _, s := range f.shape.calls(p.index) {
			if s == service {
				out = append(out, p.index)
				break
			}
		}
	}
	return out
}

// expectBack says that everybody is to come back from now on.
func (f *fleet) expectBack() *tally {
	t := newTally("answers to all their keys", f.all())
	f.back.Store(t)
	return t
}

// awaitBack waits, and says of failures why some are missing.
func (f *fleet) awaitBack(ctx context.Context, t *tally, longest time.Duration) error {
	if err := t.wait(ctx, longest); err != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		return fmt.Errorf("%w (%d streams failed, the last: %w)", err, f.failures.Load(), f.why)
	}
	return nil
}

func (f *fleet) isBack(proxy int) {
	if t := f.back.Load(); t != nil {
		t.mark(proxy)
	}
}

func (f *fleet) heard(proxy int, r *api.Resource) {
	c := f.change.Load()
	if c != nil && r.Kind == api.Kind_KIND_ENDPOINTS && r.Name == c.endpoints {
		c.heard.mark(proxy)
	}
}

func (f *fleet) failed(err error) {
	f.failures.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.why = err
}

// notResources is for what a proxy is told beside resources: a Welcome is well, and a refusal of a
// key is not.
func (f *fleet) notResources(m *api.DiscoverResponse) {
	if refused := m.GetInvalid(); refused != nil {
		f.failed(fmt.Errorf("destination refuses %v: %s", refused.Key, refused.Reason))
	}
}

func (f *fleet) resumed(size int) {
	for {
		most := f.largest.Load()
		if int64(size) <= most || f.largest.CompareAndSwap(most, int64(size)) {
			return
		}
	}
}
