package viz

import (
	"fmt"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/viz/api"
)

// large is a mesh of services of ten pods each, whose pods each call and are called by five others:
// none that a sibling calls.
func large(b *testing.B, services int) *mesh {
	m := &mesh{nil, newStore(views), time.Unix(1_800_000_000, 0)}
	var pods []*pod
	var series [][]*api.Series
	ns := func(i int) string { return fmt.Sprintf("team-%02d", i/20) }
	name := func(i int) string { return fmt.Sprintf("service-%04d", i) }
	for i := range services * 10 {
		service, number := i/10, i%10
		p := m.pod(ns(service), name(service), fmt.Sprintf("%s-5d8f7c9b64-%05x", name(service), i))
		var all []*api.Series
		for n := range 5 {
			distance := 1 + number*5 + n
			callee := (service + distance) % services
			caller := (service - distance + services) % services
			in := inbound(uint32(2*n), 0, 0,
				"spiffe://cluster.local/ns/"+ns(caller)+"/sa/"+name(caller))
			out := outbound(uint32(2*n+1), m.pod(ns(callee), name(callee), name(callee)+"-1"), "")
			for _, s := range []*api.Series{in, out} {
				for bucket := range uint32(12) {
					s.Bucket = append(s.Bucket, 60+bucket)
				}
				s.BucketCount = make([]uint64, 12)
			}
			all = append(all, in, out)
		}
		pods, series = append(pods, p), append(series, all)
	}
	for step := range 8 {
		for i, p := range pods {
			for _, s := range series[i] {
				if step > 0 {
					s.Labels = nil
				}
				s.Requests += 10
				s.Tries += 10
				s.ReadBytes += 3000
				s.WrittenBytes += 12000
				for j := range s.BucketCount {
					s.BucketCount[j]++
				}
			}
			if err := p.try(series[i]...); err != nil {
				b.Fatal(err)
			}
			if i%(len(pods)/10) == 0 {
				m.now = m.now.Add(time.Second) // each reports every ten seconds
			}
		}
	}
	m.now = m.now.Add(time.Second) // within a slot, as nearly always
	return m
}

// asking is a question to be asked again and again.
func asking[T any](ask func(time.Time, Query) (*T, error), q Query) func(time.Time) error {
	return func(now time.Time) error {
		_, err := ask(now, q)
		return err
	}
}

func BenchmarkQuestions(b *testing.B) {
	m := large(b, 200)
	s := m.store
	for _, q := range []struct {
		name string
		ask  func(time.Time) error
	}{
		{"stat", asking(s.stat, Query{Resource: "deploy"})},
		{"stat-svc", asking(s.stat, Query{Resource: "svc"})},
		{"stat-one", asking(s.stat, Query{Resource: "deploy/service-0001"})},
		{"stat-5m", asking(s.stat, Query{Resource: "deploy", Window: 5 * time.Minute})},
		{"edges", asking(s.edges, Query{Resource: "deploy"})},
		{"edges-ns", asking(s.edges, Query{Resource: "ns"})},
		{"edges-in-ns", asking(s.edges, Query{Namespace: "team-01"})},
		{"routes", asking(s.routes, Query{})},
		{"backends", asking(s.backends, Query{})},
		{"top", asking(s.top, Query{})},
	} {
		b.Run(q.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := q.ask(m.now); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
