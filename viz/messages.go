package viz

import (
	"math"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// messages are Prometheus's own, as protobuf. A histogram has native buckets there, and the classic
// ones beside them.
type messages struct {
	to  expfmt.Encoder
	now *dto.MetricFamily
	err error
}

func newMessages(to expfmt.Encoder) *messages { return &messages{to: to} }

var messageKinds = map[familyKind]dto.MetricType{
	counterFamily: dto.MetricType_COUNTER, gaugeFamily: dto.MetricType_GAUGE,
	histogramFamily: dto.MetricType_HISTOGRAM,
}

func (m *messages) family(f family, kind familyKind) {
	m.end()
	m.now = &dto.MetricFamily{Name: proto.String(f.name), Help: proto.String(f.help),
		Type: messageKinds[kind].Enum()}
}

// end sends the family, if there is anything in it.
func (m *messages) end() {
	if m.now != nil && len(m.now.Metric) > 0 && m.err == nil {
		m.err = m.to.Encode(m.now)
	}
	m.now = nil
}

func (m *messages) close() error {
	m.end()
	if c, ends := m.to.(expfmt.Closer); ends && m.err == nil {
		m.err = c.Close()
	}
	return m.err
}

func (m *messages) sample(labels []string, value float64) {
	one := m.add(labels)
	if m.now.GetType() == dto.MetricType_COUNTER {
		one.Counter = &dto.Counter{Value: &value}
	} else {
		one.Gauge = &dto.Gauge{Value: &value}
	}
}

func (m *messages) add(labels []string) *dto.Metric {
	one := &dto.Metric{}
	for i := 0; i < len(labels); i += 2 {
		if labels[i+1] != "" {
			one.Label = append(one.Label,
				&dto.LabelPair{Name: proto.String(labels[i]), Value: proto.String(labels[i+1])})
		}
	}
	m.now.Metric = append(m.now.Metric, one)
	return one
}

func (m *messages) durations(labels []string, unit time.Duration, d *observed) {
	h := &dto.Histogram{SampleSum: proto.Float64(float64(d.Sum) / float64(unit))}
	d.EachClassic(unit, func(bound float64, below uint64) {
		h.SampleCount = proto.Uint64(below)
		if !math.IsInf(bound, 1) { // which is the count
			h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: &bound, CumulativeCount: &below})
		}
	})
	for _, e := range d.exemplars {
		one := e.message(unit)
		h.Exemplars = append(h.Exemplars, one)
		at := slices.IndexFunc(h.Bucket, func(b *dto.Bucket) bool {
			return one.GetValue() <= b.GetUpperBound()
		})
		if at >= 0 {
			h.Bucket[at].Exemplar = one
		}
	}
	n := nativeOf(d.Durations, unit)
	h.Schema, h.ZeroThreshold, h.ZeroCount = proto.Int32(nativeSchema),
		proto.Float64(float64(time.Microsecond)/float64(unit)), proto.Uint64(n.zero)
	h.PositiveSpan, h.PositiveDelta = n.spans()
	m.add(labels).Histogram = h
}

// nativeSchema is Prometheus's: a bucket is 2^(1/8) as wide as the one before it.
const nativeSchema = 3

// nativeBuckets are those of an exponential histogram: counts of ascending buckets, of which i is
// for values in (2^((i-1)/8), 2^(i/8)].
type nativeBuckets struct {
	zero   uint64 // up to a microsecond
	first  int
	counts []uint64
}

// nativeOf is a cell's histogram with exponential buckets. Each of the cell's buckets overlaps two
// or three of those, and what it counts is shared out by how much. A share never falls when the
// count grows, for Prometheus would take that for a restart.
func nativeOf(d *metric.Durations, unit time.Duration) nativeBuckets {
	out := nativeBuckets{zero: d.Counts[0]}
	for i := 1; i < metric.Buckets; i++ {
		n := d.Counts[i]
		if n == 0 {
			continue
		}
		low := float64(metric.Bound(i-1)) / float64(unit)
		high := float64(metric.Bound(i)) / float64(unit)
		for at := nativeIndex(low); n > 0; at++ {
			end := min(math.Exp2(float64(at)/8), high)
			share := n
			if end < high {
				share = uint64(float64(n)*(end-low)/(high-low) + .5)
			}
			out.add(at, share)
			n, low = n-share, end
		}
	}
	return out
}

// nativeIndex is the bucket of what is just above a bound.
func nativeIndex(bound float64) int {
	at := math.Log2(bound) * 8
	if whole := math.Round(at); math.Abs(at-whole) < 1e-9 {
		return int(whole) + 1
	}
	return int(math.Ceil(at))
}

func (b *nativeBuckets) add(at int, n uint64) {
	if n == 0 {
		return
	}
	if len(b.counts) == 0 {
		b.first = at
	}
	for at >= b.first+len(b.counts) {
		b.counts = append(b.counts, 0)
	}
	b.counts[at-b.first] += n
}

// spans are runs of buckets and the difference of each from the one before it, as Prometheus sends
// them. Short gaps are bridged, for a span costs as much as two buckets.
func (b *nativeBuckets) spans() (spans []*dto.BucketSpan, deltas []int64) {
	if len(b.counts) == 0 { // else it would be taken for a histogram without native buckets
		return []*dto.BucketSpan{{Offset: proto.Int32(0), Length: proto.Uint32(0)}}, nil
	}
	const bridged = 2
	last, end := int64(0), 0
	for i := 0; i < len(b.counts); {
		if b.counts[i] == 0 {
			i++
			continue
		}
		stop := i + 1
		for gap := 0; stop+gap < len(b.counts) && gap <= bridged; gap++ {
			if b.counts[stop+gap] > 0 {
				stop, gap = stop+gap+1, -1
			}
		}
		spans = append(spans, &dto.BucketSpan{Offset: proto.Int32(int32(b.first + i - end)),
			Length: proto.Uint32(uint32(stop - i))})
		for _, n := range b.counts[i:stop] {
			deltas = append(deltas, int64(n)-last)
			last = int64(n)
		}
		end, i = b.first+stop, stop
	}
	return spans, deltas
}
