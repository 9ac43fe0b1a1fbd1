package metric

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

func page(r *Registry) string {
	var b strings.Builder
	t := NewText(func(p []byte) bool { b.Write(p); return true })
	r.WriteText(t, "test")
	t.Flush()
	return b.String()
}

func TestWhatIsCountedOfAClusterIsShown(t *testing.T) {
	r := NewRegistry()
	c := r.Cluster("web:80")
	if c != r.Cluster("web:80") {
		t.Fatal("one cluster has two counts")
	}
	c.SetEjected([]Workload{{Pod: "web-1"}, {Pod: "web-2"}})
	c.Eject(SuccessRate, true)
	c.Eject(Deviation, false)
	c.Overflow(Pending)
	c.Overflow(Pending)
	text := page(r)
	for _, want := range []string{
		`tulle_endpoints_ejected{backend="web:80"} 2`,
		`tulle_endpoint_ejections_total{backend="web:80",enforced="true",reason="success_rate"} 1`,
		`tulle_endpoint_ejections_total{backend="web:80",enforced="false",reason="deviation"} 1`,
		`tulle_cluster_overflows_total{backend="web:80",limit="pending"} 2`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("the page has no %s:\n%s", want, text)
		}
	}
	if strings.Contains(text, `limit="retries"`) {
		t.Error("the page has what has not happened")
	}
	runtime.KeepAlive(c)
}

// A series is about the endpoints of its peer, one of which may be ejected; of how many there are
// each of a backend's tells.
func TestASeriesTellsOfItsEndpoints(t *testing.T) {
	r := NewRegistry()
	c := r.Cluster("web:80")
	c.SetEjected([]Workload{{Pod: "web-1"}, {}, {}})
	c.Endpoints.Store(5)
	to := func(pod string) Labels {
		return Labels{Direction: Outbound, Backend: "web:80", Peer: Workload{Pod: pod}}
	}
	inbound := to("web-1")
	inbound.Direction = Inbound
	other := to("web-1")
	other.Backend = "other:80"
	for _, tt := range []struct {
		of           Labels
		ejected, all int
	}{
		{to("web-1"), 1, 5}, {to("web-2"), 0, 5}, {to(""), 2, 5}, {inbound, 0, 0}, {other, 0, 0},
		{Labels{Direction: Outbound}, 0, 0},
	} {
		if ejected, all := r.Endpoints(tt.of); ejected != tt.ejected || all != tt.all {
			t.Errorf("%+v: %d of %d, want %d of %d", tt.of, ejected, all, tt.ejected, tt.all)
		}
	}
	runtime.KeepAlive(c)
}

// Of clusters that nobody holds nothing stays; those beyond the bound are one.
func TestClustersAreBounded(t *testing.T) {
	r := NewRegistry()
	var held []*Cluster
	for i := range maxClusters {
		held = append(held, r.Cluster(fmt.Sprint("svc-", i)))
	}
	if r.Cluster("one more") != r.Cluster("and another") || r.Dropped() != 2 {
		t.Errorf("%d clusters are beyond the bound, want two in one", r.Dropped())
	}
	held = held[:1]
	clear(held[1:maxClusters])
	runtime.GC()
	if r.Cluster("new"); r.Dropped() != 2 || strings.Contains(page(r), `"svc-1"`) {
		t.Error("what nobody holds still has its place")
	}
	if !strings.Contains(page(r), `"svc-0"`) {
		t.Error("what somebody holds is gone")
	}
	runtime.KeepAlive(held)
}
