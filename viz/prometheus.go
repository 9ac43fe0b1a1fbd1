package viz

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/common/expfmt"

	"github.com/tulle-mesh/tulle/identity/serve"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

// ServeMetrics answers Prometheus on a listener of its own until the context ends: GET /metrics has
// the mesh's figures by workload. It is plain HTTP, for Prometheus has no SVID. Who calls whom is
// not for everybody, and viz cannot tell who asks: so nothing answers here unless the installation
// says who may, and a NetworkPolicy keeps the others out.
func (v *Server) ServeMetrics(ctx context.Context, l net.Listener) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", serve.InTurn(http.HandlerFunc(v.answerMetrics)))
	server := serve.NewHTTP(mux)
	server.WriteTimeout = queryTimeout
	stop := context.AfterFunc(ctx, func() { server.Close() })
	defer stop()
	if err := server.Serve(serve.Bound("metrics", l, serve.PageLimits(),
		v.cfg.Metrics)); ctx.Err() == nil {
		return fmt.Errorf("serve metrics: %w", err)
	}
	return nil
}

// answerMetrics writes text, and to whoever asks for those OpenMetrics' text, which has exemplars,
// or messages, which have native histograms too.
func (v *Server) answerMetrics(w http.ResponseWriter, r *http.Request) {
	format := expfmt.NegotiateAccept(r.Header, expfmt.DefaultOpenMetricsAcceptedFormats()...)
	if t := format.FormatType(); t == expfmt.TypeProtoDelim || t == expfmt.TypeOpenMetrics {
		w.Header().Set("Content-Type", string(format))
		v.writePage(newMessages(expfmt.NewEncoder(w, format)))
		return
	}
	w.Header().Set("Content-Type", metric.ContentType)
	v.writePage(newText(w))
}

// writePage writes all that is told of the mesh. An error means that the reader has gone.
func (v *Server) writePage(p page) error {
	counted := newCounted(p)
	v.store.writeFlows(counted)
	v.store.writeWorkloads(counted, time.Now())
	v.store.writeObjectives(counted)
	counted.family(family{metric.BuildInfo,
		"1, labelled with what this server was built from."}, gaugeFamily)
	counted.sample([]string{"component", "viz", "version", v.cfg.Version}, 1)
	writeSeries(counted)
	return p.close()
}

// writeSeries tells how long the page is: classic buckets counted, but not these.
func writeSeries(c *counted) {
	all := maps.Clone(c.series)
	c.family(family{"tulle_metric_series", "Series of this page, by family."}, gaugeFamily)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		c.sample([]string{"family", name}, float64(all[name]))
	}
}

// writeFlows writes every view of every flow.
func (s *store) writeFlows(p page) {
	all, folded := s.copyFlows()
	for i := range s.views {
		s.views[i].write(p, all)
	}
	p.family(family{"tulle_viz_flows_folded_total",
		`Series that are counted under the name "other", beyond the bounds of this page.`},
		counterFamily)
	p.sample(nil, float64(folded))
}

// row is flows that are one in a view's words.
type row struct {
	labels    []string
	inbound   bool
	protocol  string
	total     sample
	standing  standing
	exemplars exemplars
}

// view is the flows in somebody's words. Flows whose labels are the same in them are one.
type view struct {
	name     string               // that it is asked for by; ours is always there
	labels   func(*flow) []string // names and values
	classes  func(*row) []class   // of its requests
	requests family               // a sample for each class
	counters []countFamily
	reasons  family // a sample for each; empty: the view has none
	gauges   []standingFamily
	duration family
	unit     time.Duration
}

// class is a part of a row's requests, told apart by further labels.
type class struct {
	labels []string
	count  uint64
}

// countFamily is one of a row's counters.
type countFamily struct {
	family
	of func(*row) uint64
}

// standingFamily is one of a row's gauges, where there is somebody who tells of it.
type standingFamily struct {
	family
	of func(*standing) uint64
}

func (v *view) write(p page, all []flow) {
	rows := v.rows(all)
	p.family(v.requests, counterFamily)
	for _, r := range rows {
		// A class of none is shown where there are others: a rate of failures needs to have seen 0.
		if r.total.counters[requests] == 0 {
			continue
		}
		for _, c := range v.classes(r) {
			p.sample(slices.Concat(r.labels, c.labels), float64(c.count))
		}
	}
	for _, f := range v.counters {
		p.family(f.family, counterFamily)
		for _, r := range rows {
			if n := f.of(r); n > 0 {
				p.sample(r.labels, float64(n))
			}
		}
	}
	v.writeReasons(p, rows)
	v.writeGauges(p, rows)
	p.family(v.duration, histogramFamily)
	for _, r := range rows {
		if len(r.total.buckets) > 0 {
			p.durations(r.labels, v.unit, &observed{r.total.durations(), r.exemplars})
		}
	}
}

func (v *view) writeReasons(p page, rows []*row) {
	if v.reasons.name == "" {
		return
	}
	p.family(v.reasons, counterFamily)
	for _, r := range rows {
		for i, n := range r.total.counters[reasonCounts:] {
			if n > 0 {
				p.sample(slices.Concat(r.labels, []string{"reason", reasonWord(i)}), float64(n))
			}
		}
	}
}

func (v *view) writeGauges(p page, rows []*row) {
	for _, f := range v.gauges {
		p.family(f.family, gaugeFamily)
		for _, r := range rows {
			if r.standing.endpoints != nil {
				p.sample(r.labels, float64(f.of(&r.standing)))
			}
		}
	}
}

// rows adds flows up, by their labels.
func (v *view) rows(all []flow) (rows []*row) {
	each := make(map[string]*row)
	for i := range all {
		labels := v.labels(&all[i])
		key := labelKey(labels)
		one := each[key]
		if one == nil {
			one = &row{labels: labels, inbound: all[i].key.inbound(),
				protocol: all[i].key.protocol}
			each[key] = one
		}
		one.total.add(&all[i].total)
		one.standing.add(&all[i].standing)
		one.exemplars.add(all[i].exemplars)
	}
	for _, key := range slices.Sorted(maps.Keys(each)) {
		rows = append(rows, each[key])
	}
	return rows
}

func (s *sample) durations() *metric.Durations {
	d := &metric.Durations{Sum: time.Duration(s.counters[latencySum]) * time.Microsecond}
	for _, b := range s.buckets {
		d.Counts[b.index] = b.count
	}
	return d
}
