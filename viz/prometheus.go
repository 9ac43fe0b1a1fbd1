package viz

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"time"

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

func (v *Server) answerMetrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", metric.ContentType)
	page := metric.NewText(func(piece []byte) bool {
		_, err := w.Write(piece) // an error means that the asker has gone
		return err == nil
	})
	v.store.writeFlows(page)
	v.store.writeObjectives(page)
	page.Flush()
}

// writeFlows writes every view of every flow.
func (s *store) writeFlows(t *metric.Text) {
	all, folded := s.copyFlows()
	for i := range views {
		views[i].write(t, all)
	}
	t.Counter("tulle_viz_flows_folded_total",
		`Series that are counted under the name "other", beyond the bounds of this page.`,
		float64(folded))
}

// view is the flows in somebody's words. Flows whose labels are the same in them are one.
type view struct {
	labels   func(*flowKey) []string // names and values
	classes  func(*flow) []class     // of its requests
	requests family                  // a sample for each class
	counters []countFamily
	ejected  family // a gauge; empty: the view has none
	duration family
	unit     time.Duration
}

// family is a name and what it is.
type family struct{ name, help string }

// class is a part of a flow's requests, told apart by further labels.
type class struct {
	labels []string
	count  uint64
}

// countFamily is one of a flow's counters.
type countFamily struct {
	family
	index int // of counters
}

func (v *view) write(t *metric.Text, all []flow) {
	classes, each := v.sum(all)
	writeFamily(t, v.requests, "counter", classes)
	rows := slices.Sorted(maps.Keys(each))
	for _, f := range v.counters {
		values := make(map[string]uint64, len(rows))
		for _, labels := range rows {
			if n := each[labels].counters[f.index]; n > 0 {
				values[labels] = n
			}
		}
		writeFamily(t, f.family, "counter", values)
	}
	if v.ejected.name != "" {
		writeFamily(t, v.ejected, "gauge", v.ejections(all))
	}
	v.writeDurations(t, rows, each)
}

// ejections are how many endpoints are ejected, where there is somebody who would eject them.
func (v *view) ejections(all []flow) map[string]uint64 {
	each := make(map[string]*standing)
	for i := range all {
		if all[i].standing.endpoints == nil {
			continue
		}
		labels := metric.LabelText(v.labels(&all[i].key)...)
		if each[labels] == nil {
			each[labels] = &standing{}
		}
		each[labels].add(&all[i].standing)
	}
	values := make(map[string]uint64, len(each))
	for labels, one := range each {
		values[labels], _ = one.sums()
	}
	return values
}

// sum adds flows up: their requests by class, and all that is not told apart by one.
func (v *view) sum(all []flow) (classes map[string]uint64, each map[string]*sample) {
	classes, each = make(map[string]uint64), make(map[string]*sample)
	for i := range all {
		names := v.labels(&all[i].key)
		// A class of none is shown where there are others: a rate of failures needs to have seen 0.
		if all[i].total.counters[requests] > 0 {
			for _, c := range v.classes(&all[i]) {
				classes[metric.LabelText(slices.Concat(names, c.labels)...)] += c.count
			}
		}
		labels := metric.LabelText(names...)
		if each[labels] == nil {
			each[labels] = &sample{}
		}
		each[labels].add(&all[i].total)
	}
	return classes, each
}

func writeFamily(t *metric.Text, f family, kind string, values map[string]uint64) {
	if len(values) == 0 {
		return
	}
	t.Family(f.name, f.help, kind)
	for _, labels := range slices.Sorted(maps.Keys(values)) {
		t.Sample(f.name, labels, float64(values[labels]))
	}
}

func (v *view) writeDurations(t *metric.Text, rows []string, each map[string]*sample) {
	first := true
	for _, labels := range rows {
		one := each[labels]
		if len(one.buckets) == 0 {
			continue
		}
		if first {
			t.Family(v.duration.name, v.duration.help, "histogram")
			first = false
		}
		t.Histogram(v.duration.name, labels, v.unit, one.durations())
	}
}

func (s *sample) durations() *metric.Durations {
	d := &metric.Durations{Sum: time.Duration(s.counters[latencySum]) * time.Microsecond}
	for _, b := range s.buckets {
		d.Counts[b.index] = b.count
	}
	return d
}
