package viz

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/identity/names"
)

const (
	// pushTimeout bounds one request, and maxPoints what is in it.
	pushTimeout = 10 * time.Second
	maxPoints   = 2000
	// mostAnswer is how much of a refusal is read, to be told.
	mostAnswer = 1 << 10
)

// Push is where the page for Prometheus is sent, as OTLP over HTTP, so that a history is kept where
// nobody comes to read. Every figure is sent again each time: what is lost the next one says.
type Push struct {
	URL      string // whole: http://otel.monitoring:4318/v1/metrics
	Every    time.Duration
	Instance string // what this replica is called
}

// CheckPush says what is wrong with a URL to push to.
func CheckPush(to string) error {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is no URL to push to: for example "+
			"http://otel-collector.monitoring:4318/v1/metrics", to)
	}
	return nil
}

// PushMetrics sends the page again and again, until the context ends. A receiver that does not take
// it is told of once, and so is that it does again.
func (v *Server) PushMetrics(ctx context.Context, p Push) error {
	client := &http.Client{Timeout: pushTimeout}
	start, ticker := time.Now(), time.NewTicker(p.Every)
	defer ticker.Stop()
	failing := false
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
		err := v.writePage(p.begin(ctx, client, start))
		if ctx.Err() != nil {
			return nil
		}
		if failed := err != nil; failed != failing {
			v.cfg.Log.Warn("pushing metrics", "to", p.URL, "works", !failed, "err", err)
			failing = failed
		}
	}
}

// points is a page as OTLP. It is sent in parts.
type points struct {
	send       func(*metrics.ResourceMetrics) error
	resource   *resourcepb.Resource
	start, now uint64 // Unix nanoseconds
	about      family
	kind       familyKind
	all        []*metrics.Metric
	open       bool // the last of all is the family's
	count      int
	err        error
}

func (p Push) begin(ctx context.Context, client *http.Client, start time.Time) *points {
	return &points{start: uint64(start.UnixNano()), now: uint64(time.Now().UnixNano()),
		resource: &resourcepb.Resource{Attributes: attributes([]string{
			"service.name", names.Viz, "service.namespace", names.Mesh,
			"service.instance.id", p.Instance})},
		send: func(m *metrics.ResourceMetrics) error { return p.post(ctx, client, m) }}
}

func attributes(labels []string) (all []*common.KeyValue) {
	for i := 0; i < len(labels); i += 2 {
		if labels[i+1] != "" {
			all = append(all, &common.KeyValue{Key: labels[i], Value: &common.AnyValue{
				Value: &common.AnyValue_StringValue{StringValue: labels[i+1]}}})
		}
	}
	return all
}

func (p *points) family(f family, kind familyKind) { p.about, p.kind, p.open = f, kind, false }

// metric is the family's message. A part that is full is sent before.
func (p *points) metric() *metrics.Metric {
	if p.count++; p.count > maxPoints {
		p.flush()
		p.count = 1
	}
	if !p.open {
		p.all = append(p.all, &metrics.Metric{Name: p.about.name, Description: p.about.help})
		p.open = true
	}
	return p.all[len(p.all)-1]
}

func (p *points) sample(labels []string, value float64) {
	m := p.metric()
	one := &metrics.NumberDataPoint{Attributes: attributes(labels), StartTimeUnixNano: p.start,
		TimeUnixNano: p.now, Value: &metrics.NumberDataPoint_AsDouble{AsDouble: value}}
	if p.kind == gaugeFamily {
		if m.Data == nil {
			m.Data = &metrics.Metric_Gauge{Gauge: &metrics.Gauge{}}
		}
		m.GetGauge().DataPoints = append(m.GetGauge().DataPoints, one)
		return
	}
	if m.Data == nil {
		m.Data = &metrics.Metric_Sum{Sum: &metrics.Sum{IsMonotonic: true,
			AggregationTemporality: cumulative}}
	}
	m.GetSum().DataPoints = append(m.GetSum().DataPoints, one)
}

const cumulative = metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE

// durations have the classic buckets, so that the same queries are answered as of a page that was
// read.
func (p *points) durations(labels []string, unit time.Duration, d *observed) {
	m := p.metric()
	if m.Data == nil {
		m.Data = &metrics.Metric_Histogram{Histogram: &metrics.Histogram{
			AggregationTemporality: cumulative}}
	}
	sum := float64(d.Sum) / float64(unit)
	one := &metrics.HistogramDataPoint{Attributes: attributes(labels), StartTimeUnixNano: p.start,
		TimeUnixNano: p.now, Sum: &sum}
	d.EachClassic(unit, func(bound float64, below uint64) {
		if !math.IsInf(bound, 1) {
			one.ExplicitBounds = append(one.ExplicitBounds, bound)
		}
		one.BucketCounts = append(one.BucketCounts, below-one.Count)
		one.Count = below
	})
	for _, e := range d.exemplars {
		one.Exemplars = append(one.Exemplars, &metrics.Exemplar{TraceId: e.trace[:],
			SpanId: e.span[:], TimeUnixNano: uint64(e.at.UnixNano()),
			Value: &metrics.Exemplar_AsDouble{AsDouble: float64(e.took) / float64(unit)}})
	}
	m.GetHistogram().DataPoints = append(m.GetHistogram().DataPoints, one)
}

// flush sends what there is. After a failure nothing more is sent.
func (p *points) flush() {
	if len(p.all) > 0 && p.err == nil {
		p.err = p.send(&metrics.ResourceMetrics{Resource: p.resource,
			ScopeMetrics: []*metrics.ScopeMetrics{{
				Scope:   &common.InstrumentationScope{Name: names.Mesh},
				Metrics: p.all,
			}}})
	}
	p.all, p.open = nil, false
}

func (p *points) close() error {
	p.flush()
	return p.err
}

func (p Push) post(ctx context.Context, client *http.Client, m *metrics.ResourceMetrics) error {
	// On the wire it is an ExportMetricsServiceRequest, whose package links a gateway.
	text, err := proto.Marshal(&metrics.MetricsData{
		ResourceMetrics: []*metrics.ResourceMetrics{m}})
	if err != nil {
		return fmt.Errorf("push metrics: %w", err)
	}
	var body bytes.Buffer
	packed := gzip.NewWriter(&body)
	if _, err := packed.Write(text); err != nil {
		return fmt.Errorf("push metrics: %w", err)
	}
	if err := packed.Close(); err != nil {
		return fmt.Errorf("push metrics: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL, &body)
	if err != nil {
		return fmt.Errorf("push metrics: %w", err)
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("Content-Encoding", "gzip")
	answer, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("push metrics: %w", err)
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(io.LimitReader(answer.Body, mostAnswer))
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("push metrics: %s %q", answer.Status, said)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("push metrics: %w", err)
	}
	return nil
}
