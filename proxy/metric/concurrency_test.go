package metric

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestConcurrencyIsShown(t *testing.T) {
	r := NewRegistry()
	c := r.Concurrency(8080)
	if c != r.Concurrency(8080) {
		t.Fatal("one port has two counts")
	}
	c.Limit.Store(20)
	c.Least.Store(int64(1500 * time.Microsecond))
	c.Refused.Inc()
	text := page(r)
	for _, want := range []string{
		`tulle_concurrency_limit{port="8080"} 20`,
		`tulle_concurrency_baseline_seconds{port="8080"} 0.0015`,
		`tulle_concurrency_refused_total{port="8080"} 1`,
	} {
		if !strings.Contains(text, "\n"+want+"\n") {
			t.Errorf("the page has no %s:\n%s", want, text)
		}
	}
	runtime.KeepAlive(c)
	runtime.GC()
	if text := page(r); strings.Contains(text, "tulle_concurrency") {
		t.Errorf("what nobody holds is shown:\n%s", text)
	}
}
