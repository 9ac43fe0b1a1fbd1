package viz

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// What viz tells Prometheus of itself. The mesh's own figures come from the proxies, not from here.
var (
	streamsDesc = prometheus.NewDesc("tulle_viz_streams", "Proxies that report now.", nil, nil)
	proxiesDesc = prometheus.NewDesc("tulle_viz_processes", "Lives of proxies that are remembered.",
		nil, nil)
	seriesDesc = prometheus.NewDesc("tulle_viz_series_bytes", "Memory of labels and totals.", nil,
		nil)
	historyDesc = prometheus.NewDesc("tulle_viz_history_bytes", "Memory of the history.", nil, nil)
	spanDesc    = prometheus.NewDesc("tulle_viz_history_seconds", "How far the history goes back.",
		nil, nil)
	refusedDesc = prometheus.NewDesc("tulle_viz_series_refused_total",
		"Series beyond a memory budget.", nil, nil)
	trimmedDesc = prometheus.NewDesc("tulle_viz_reports_trimmed_total",
		"Reports of more than a proxy can do, of which a part does not count.", nil, nil)
)

// Describe makes Server a prometheus.Collector.
func (v *Server) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(v, ch) }

// Collect makes Server a prometheus.Collector.
func (v *Server) Collect(ch chan<- prometheus.Metric) {
	v.mu.Lock()
	streams := len(v.streams)
	v.mu.Unlock()
	v.store.mu.RLock()
	defer v.store.mu.RUnlock()
	span := 0.0
	if closed := v.store.history.closed; len(closed) > 0 {
		span = float64(slotNumber(time.Now())-closed[0].number) * slotLength.Seconds()
	}
	gauge := func(d *prometheus.Desc, value float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value)
	}
	gauge(streamsDesc, float64(streams))
	gauge(proxiesDesc, float64(len(v.store.processes)))
	gauge(seriesDesc, float64(v.store.bytes()))
	gauge(historyDesc, float64(v.store.history.bytes()))
	gauge(spanDesc, span)
	ch <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue,
		float64(v.store.refused))
	ch <- prometheus.MustNewConstMetric(trimmedDesc, prometheus.CounterValue,
		float64(v.store.trimmed))
}
