package viz

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/viz/api"
)

// openMetrics is the page as a Prometheus reads it that has not been told anything.
func (m *mesh) openMetrics() string {
	m.t.Helper()
	v := &Server{store: m.store}
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3")
	w := httptest.NewRecorder()
	v.answerMetrics(w, r)
	return w.Body.String()
}

// A bucket points to the newest of its requests whose trace there is, and to no other.
func TestExemplars(t *testing.T) {
	m := newMesh(t)
	web := m.pod("shop", "web", "web-1")
	trace := func(b byte) []byte { return bytes.Repeat([]byte{b}, 16) }
	for i, took := range []uint64{3000, 3100, 50_000} {
		m.now = m.now.Add(time.Second)
		s := inbound(1, uint64(i+1), 0, "")
		s.Bucket, s.BucketCount = []uint32{80}, []uint64{uint64(i + 1)}
		s.Exemplar = &api.Exemplar{TraceId: trace(byte(i + 1)), SpanId: trace(7)[:8],
			LatencyUs: took}
		web.report(s)
	}
	page := m.openMetrics()
	if !strings.HasSuffix(page, "# EOF\n") {
		t.Error("OpenMetrics' text has no end")
	}
	for text, want := range map[string]int{
		`trace_id="02020202020202020202020202020202",span_id="0707070707070707"} 0.0031 `: 1,
		`trace_id="03030303030303030303030303030303",span_id="0707070707070707"} 0.05 `:   1,
		`trace_id="01010101`: 0,
	} {
		got := 0
		for line := range strings.Lines(page) {
			if strings.HasPrefix(line, "tulle_workload_request_duration_seconds_bucket") &&
				strings.Contains(line, text) {
				got++
			}
		}
		if got != want {
			t.Errorf("%s is there %d times, want %d", text, got, want)
		}
	}
	h := m.asProtobuf()["tulle_workload_request_duration_seconds"].Metric[0].Histogram
	if len(h.Exemplars) != 2 {
		t.Errorf("the native histogram has %v", h.Exemplars)
	}
}

// What is no trace is not shown.
func TestForgedExemplars(t *testing.T) {
	for _, e := range []*api.Exemplar{nil, {}, {TraceId: []byte{1}, SpanId: make([]byte, 8)},
		{TraceId: make([]byte, 16), SpanId: make([]byte, 9)},
		{TraceId: make([]byte, 16), SpanId: make([]byte, 8), LatencyUs: 1 << 60}} {
		if got := exemplarOf(e); got != nil {
			t.Errorf("%v is taken for %v", e, got)
		}
	}
}
