package destination

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// freshness shows how old what is known may be: a watch that fails leaves it as it was, and
// everything looks healthy otherwise.
type freshness struct{ source Source }

var (
	lastEvent = prometheus.NewDesc("tulle_destination_watch_last_event_timestamp_seconds",
		"When the newest event of a kind arrived, in Unix time; 0 before the first.",
		[]string{"resource"}, nil)
	failing = prometheus.NewDesc("tulle_destination_watch_failing",
		"1 while a kind cannot be watched, so that what is known of it may be out of date.",
		[]string{"resource"}, nil)
)

// Describe is prometheus.Collector's.
func (f freshness) Describe(to chan<- *prometheus.Desc) {
	to <- lastEvent
	to <- failing
}

// Collect is prometheus.Collector's.
func (f freshness) Collect(to chan<- prometheus.Metric) {
	for _, w := range watchesOf(f.source) {
		seconds, fails := 0.0, 0.0
		if !w.Last.IsZero() {
			seconds = float64(w.Last.UnixNano()) / float64(time.Second)
		}
		if w.Failing {
			fails = 1
		}
		to <- prometheus.MustNewConstMetric(lastEvent, prometheus.GaugeValue, seconds, w.Resource)
		to <- prometheus.MustNewConstMetric(failing, prometheus.GaugeValue, fails, w.Resource)
	}
}
