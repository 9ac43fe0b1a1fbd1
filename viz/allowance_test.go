package viz

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/viz/api"
)

// absurd is a series that nobody could have measured.
func absurd() *api.Series {
	s := inbound(1, 1<<52, 1<<51, "")
	s.Bucket, s.BucketCount = []uint32{3, 9}, []uint64{1 << 52, 1 << 52}
	s.ReadBytes, s.WrittenBytes, s.ConnectionsOpen = 1<<53, 1<<53, 1<<53
	return s
}

// Whatever a pod says of its calls, and of the time, it adds no more to anybody's figures than a
// proxy can do.
func TestAReportAddsNoMoreThanAProxyCanDo(t *testing.T) {
	for name, c := range map[string]struct {
		say     func(m *mesh, web *pod)
		seconds float64 // that it is believed to have worked
		rps     float64 // at most: of lives, each has its own time
	}{
		"at once": {func(_ *mesh, web *pod) { web.report(absurd()) }, 10, mostPerSecond},
		"again": {func(m *mesh, web *pod) {
			web.report(absurd())
			m.now = m.now.Add(10 * time.Second)
			web.report(absurd())
		}, 20, mostPerSecond},
		"in many series": {func(_ *mesh, web *pod) {
			var all []*api.Series
			for i := range uint32(20) {
				s := absurd()
				s.Id, s.Labels.Port = i, i
				all = append(all, s)
			}
			web.report(all...)
		}, 10, mostPerSecond},
		"with a clock that runs ahead": {func(_ *mesh, web *pod) {
			for range 10 {
				web.report(absurd())
				web.started = web.started.Add(-10 * time.Minute)
			}
		}, 10 + maxGap.Seconds(), mostPerSecond},
		"in many lives": {func(m *mesh, web *pod) {
			for i := range 10 {
				web.report(absurd())
				web.restart(fmt.Sprint(i))
				web.started = m.now.Add(-30 * time.Second)
			}
		}, 10 + maxGap.Seconds(), 3 * mostPerSecond},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t)
			web := m.pod("shop", "web", "web-1")
			m.now = m.now.Add(10 * time.Second)
			c.say(m, web)
			row := m.one(Query{Resource: "deploy/web"})
			events, bytes := c.seconds*mostPerSecond, c.seconds*mostBytesPerSecond
			if n := float64(row.Requests); n < 10*mostPerSecond || n > events ||
				float64(row.WindowRequests) > events || float64(row.ReadBytes) > bytes ||
				row.RPS > c.rps || row.ReadBytesPerSecond > 3*mostBytesPerSecond {
				t.Errorf("more than in %v s: %+v", c.seconds, row)
			}
			if row.Connections > 20*mostOpen || m.store.trimmed == 0 {
				t.Errorf("%d connections; %d reports were trimmed", row.Connections,
					m.store.trimmed)
			}
			if sum := observations(m.store); float64(sum) > events {
				t.Errorf("%d latencies, of more than %v s", sum, c.seconds)
			}
		})
	}
}

// observations is how many latencies are kept.
func observations(s *store) (sum uint64) {
	var one sample
	for _, p := range s.processes {
		for _, series := range p.series {
			one.parse(series.total)
			for _, b := range one.buckets {
				sum += b.count
			}
		}
	}
	return sum
}

// What is much but can be is believed to the last request, however the reports come.
func TestABusyProxyIsBelieved(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	began := m.now
	for i := range 60 {
		late := time.Duration(i%3) * 400 * time.Millisecond // the third comes with the next
		m.now = began.Add(time.Duration(i+1) * time.Second)
		uptime := m.now.Sub(began)
		s := inbound(1, uint64(uptime.Seconds()*mostPerSecond), 0, "")
		s.ReadBytes = uint64(uptime.Seconds() * mostBytesPerSecond)
		s.Bucket, s.BucketCount = []uint32{7}, []uint64{s.Requests}
		message := web.message(s)
		r, err := checkReport(web.stream.who, message)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.store.apply(m.now.Add(late), web.stream, r); err != nil {
			t.Fatal(err)
		}
	}
	row := m.one(Query{Resource: "deploy/web"})
	if row.Requests != 60*mostPerSecond || math.Abs(row.RPS-mostPerSecond) > 1 ||
		m.store.trimmed != 0 {
		t.Errorf("%d reports were trimmed: %+v", m.store.trimmed, row)
	}
}
