package destination

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/destination/registry"
)

// What one change costs of a service with 1,000 pods, however many proxies watch it.
func BenchmarkEndpoints1000(b *testing.B) {
	reg := registryOf(b, cluster)
	for s := range 10 {
		var addresses []string
		for i := range 100 {
			addresses = append(addresses,
				netip.AddrFrom4([4]byte{192, 0, byte(s), byte(i)}).String())
		}
		next := slice(addresses...)
		next.Name = fmt.Sprint("web-", s)
		apply(reg, next)
	}
	h, w := newHub(reg, testMesh()), newWatcher()
	service := registry.Name{Namespace: "shop", Name: "web"}
	c := h.watch(question{cluster: clusterRef{service: service, port: 80}}, w)
	b.ReportAllocs()
	for b.Loop() {
		h.computeLocked(c)
	}
}

// manyKeys is a stream that asks for so many services, all answered.
func manyKeys(t testing.TB, h *hub, n int) *stream {
	t.Helper()
	s := newStream(h, webPod, newRejections(slog.New(slog.DiscardHandler)),
		func(*api.DiscoverResponse) error { return nil })
	for i := range n {
		key := authority(fmt.Sprintf("s%d", i))
		sub := &api.DiscoverRequest_Subscribe{Subscribe: &api.Subscribe{Key: key}}
		if err := s.receive(&api.DiscoverRequest{Message: sub}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.receive(resume(true)); err != nil {
		t.Fatal(err)
	}
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	return s
}

// numbered is a service, or the slice of one, of so many.
func numbered(i int, addresses ...string) []registry.Object {
	svc := &registry.Service{
		Meta:  registry.Meta{Namespace: "shop", Name: fmt.Sprintf("s%d", i)},
		Ports: []registry.ServicePort{{Name: "http", Number: 80}},
	}
	endpoints := slice(addresses...)
	endpoints.Name, endpoints.Service = svc.Name, svc.Key()
	return []registry.Object{svc, endpoints}
}

func numberedCell(t testing.TB, h *hub, i int) *cell {
	t.Helper()
	name := registry.Name{Namespace: "shop", Name: fmt.Sprintf("s%d", i)}
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.cells[question{cluster: clusterRef{service: name, port: 80}}]
	if c == nil {
		t.Fatal("nobody asks for", name)
	}
	return c
}

// What a stream's flush costs when one of its keys' endpoints has changed.
func BenchmarkFlush(b *testing.B) {
	for _, keys := range []int{20, 100, 500, 8000} {
		b.Run(fmt.Sprint(keys), func(b *testing.B) {
			reg := registry.New()
			for i := range keys {
				apply(reg, numbered(i, "192.0.2.1")...)
			}
			h := newHub(reg, testMesh())
			s := manyKeys(b, h, keys)
			c := numberedCell(b, h, keys/2)
			answers := [2]*answer{c.answer.Load()}
			apply(reg, numbered(keys/2, "192.0.2.2")...)
			c.computing.Lock()
			h.computeLocked(c)
			c.computing.Unlock()
			answers[1] = c.answer.Load()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				c.answer.Store(answers[i%2])
				h.notify(c)
				if err := s.flush(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
