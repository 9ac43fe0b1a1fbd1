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
	c.Ejected.Store(2)
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
