package viz

import (
	"bytes"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// asProtobuf is the page as a Prometheus reads it that wants native histograms.
func (m *mesh) asProtobuf() map[string]*dto.MetricFamily {
	m.t.Helper()
	v := &Server{store: m.store}
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", "application/vnd.google.protobuf;"+
		"proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,text/plain;q=0.3")
	w := httptest.NewRecorder()
	v.answerMetrics(w, r)
	out := map[string]*dto.MetricFamily{}
	decoder := expfmt.NewDecoder(w.Body, expfmt.ResponseFormat(w.Header()))
	for {
		one := &dto.MetricFamily{}
		if err := decoder.Decode(one); err == io.EOF {
			return out
		} else if err != nil {
			m.t.Fatal(err)
		}
		out[one.GetName()] = one
	}
}

// Both formats say the same, and the histograms of the messages have native buckets, too.
func TestMessagesSayWhatTheTextSays(t *testing.T) {
	m, _, _ := shopCalls(t)
	text, messages := m.families(), m.asProtobuf()
	for name, f := range text {
		got := messages[name]
		if got == nil || got.GetType() != f.GetType() || len(got.Metric) != len(f.Metric) {
			t.Errorf("%s: %v, in text %v", name, got, f)
			continue
		}
		for i, one := range f.Metric {
			if f.GetType() == dto.MetricType_HISTOGRAM {
				h := got.Metric[i].Histogram
				if h.GetSampleCount() != one.Histogram.GetSampleCount() || h.GetSchema() != 3 ||
					nativeCount(h) != h.GetSampleCount() {
					t.Errorf("%s: %v", name, h)
				}
			} else if got.Metric[i].GetCounter().GetValue() != one.GetCounter().GetValue() {
				t.Errorf("%s: %v, in text %v", name, got.Metric[i], one)
			}
		}
	}
}

// natives are the counts of native buckets, by index.
func natives(h *dto.Histogram) map[int]uint64 {
	out, at, next, count := map[int]uint64{}, 0, 0, int64(0)
	for _, span := range h.PositiveSpan {
		at += int(span.GetOffset())
		for range span.GetLength() {
			count += h.PositiveDelta[next]
			out[at] = uint64(count)
			at, next = at+1, next+1
		}
	}
	return out
}

func nativeCount(h *dto.Histogram) uint64 {
	total := h.GetZeroCount()
	for _, n := range natives(h) {
		total += n
	}
	return total
}

// histogramOf is what is sent of some durations.
func histogramOf(t *testing.T, d *metric.Durations) *dto.Histogram {
	t.Helper()
	var b bytes.Buffer
	p := newMessages(expfmt.NewEncoder(&b, expfmt.NewFormat(expfmt.TypeProtoDelim)))
	p.family(family{"a", "b"}, histogramFamily)
	p.durations([]string{"l", "x"}, time.Second, &observed{Durations: d})
	if err := p.close(); err != nil {
		t.Fatal(err)
	}
	f := &dto.MetricFamily{}
	if err := expfmt.NewDecoder(&b, expfmt.NewFormat(expfmt.TypeProtoDelim)).Decode(f); err != nil {
		t.Fatal(err)
	}
	return f.Metric[0].Histogram
}

// nativeQuantile is the upper bound of the bucket that holds it.
func nativeQuantile(h *dto.Histogram, q float64) float64 {
	all := natives(h)
	indexes := make([]int, 0, len(all))
	for i := range all {
		indexes = append(indexes, i)
	}
	slices.Sort(indexes)
	rank, below := q*float64(h.GetSampleCount()), float64(h.GetZeroCount())
	for _, i := range indexes {
		if below += float64(all[i]); below >= rank {
			return math.Exp2(float64(i) / 8)
		}
	}
	return math.NaN()
}

// Whatever was measured, native buckets hold all of it, never one less than before, and their
// quantiles are the true ones, to the width of a bucket of ours and one of theirs.
func TestNativeBuckets(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var d metric.Durations
	var all []time.Duration
	before := map[int]uint64{}
	for i := range 20_000 {
		took := time.Duration(rng.ExpFloat64() * float64(20*time.Millisecond))
		all = append(all, took)
		d.Counts[metric.Index(took)]++
		if i%97 > 0 {
			continue
		}
		h := histogramOf(t, &d)
		if got := nativeCount(h); got != uint64(i+1) || h.GetSampleCount() != got {
			t.Fatalf("%d of %d are in buckets", got, i+1)
		}
		now := natives(h)
		for at, n := range before {
			if now[at] < n {
				t.Fatalf("bucket %d fell from %d to %d", at, n, now[at])
			}
		}
		before = now
	}
	slices.Sort(all)
	h := histogramOf(t, &d)
	for _, q := range []float64{.1, .5, .9, .99, .999} {
		exact := all[int(q*float64(len(all)))].Seconds()
		if got := nativeQuantile(h, q); got < exact/1.25 || got > exact*1.25 {
			t.Errorf("q %v: %v, exactly %v", q, got, exact)
		}
	}
}

// Where there is nothing above a microsecond, it is a native histogram all the same.
func TestNativeHistogramOfNothing(t *testing.T) {
	var d metric.Durations
	d.Counts[0] = 3
	if h := histogramOf(t, &d); len(h.PositiveSpan) != 1 || h.GetZeroCount() != 3 {
		t.Errorf("%v", h)
	}
}
