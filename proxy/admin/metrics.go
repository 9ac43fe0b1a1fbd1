package admin

import (
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// metrics has a registry of its own: the process-wide one would take whatever a library registers.
func (s *Server) metrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(
		&collector{registry: s.o.Registry, version: s.o.Version},
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		// Without the runtime's statistics, which stop the world and are forty more series for every pod.
		collectors.NewGoCollector(collectors.WithGoCollectorMemStatsMetricsDisabled()),
	)
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes,
		DisableCompression:  true,                     // a gzip writer is 800 KB, for a scrape inside the cluster
		ErrorHandling:       promhttp.ContinueOnError, // one bad series must not hide all the others
	})
}

// The families. Which labels a series has depends on what is known of it, so they are not declared beforehand.
var (
	requests       = family("tulle_requests_total", "Requests that ended, as the caller saw them.")
	failures       = family("tulle_request_failures_total", "Requests that were no success by their route's class of response.")
	duration       = family("tulle_request_duration_seconds", "Time from a request's head to the end of its response.")
	tries          = family("tulle_tries_total", "Requests that were really sent, retries included.")
	failedTries    = family("tulle_try_failures_total", "Tries that failed.")
	retries        = family("tulle_retries_total", "Tries that repeated one that failed.")
	retriesRefused = family("tulle_retries_refused_total", "Retries that were wanted, but beyond the budget.")
	timeouts       = family("tulle_timeouts_total", "Requests that ended at their timeout.")
	opened         = family("tulle_tcp_connections_opened_total", "Connections opened.")
	open           = family("tulle_tcp_connections_open", "Connections open now.")
	readBytes      = family("tulle_tcp_read_bytes_total", "Bytes read from the peer.")
	writtenBytes   = family("tulle_tcp_written_bytes_total", "Bytes written to the peer.")

	connections = family("tulle_proxy_connections_open", "Accepted connections that are open now.")
	dropped     = family("tulle_series_dropped_total", "Times that a new series was counted as \"other\", beyond the cap.")
	expiry      = family("tulle_certificate_expiry_timestamp_seconds", "When the proxy's certificate ends; absent before there is one.")
	buildInfo   = family("tulle_build_info", "1, labelled with what this proxy was built from.")
)

// bounds are the cells' buckets that end a classic bucket. They end at powers of two, so that each count is exact: every
// one from 0.5 ms to 1 s, where answers are, and then every second one to 67 s.
var bounds = classicBounds()

func classicBounds() []int {
	var all []int
	for us := time.Duration(1 << 9); us <= 1<<26; us <<= 1 {
		all = append(all, metric.Index(us*time.Microsecond)-1)
		if us >= 1<<20 {
			us <<= 1
		}
	}
	return all
}

func family(name, help string) *prometheus.Desc { return prometheus.NewDesc(name, help, nil, nil) }

// collector turns cells into Prometheus's samples. Its own samples share one slice of labels for each series: client_golang's
// constant metrics would make the same twenty label pairs again for each of a dozen families.
type collector struct {
	registry *metric.Registry
	version  string
}

// Describe says nothing, on purpose: an empty label is left out, so labels differ from series to series.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	c.registry.Each(func(_ uint32, l metric.Labels, cell *metric.Cell) { collectCell(ch, labelPairs(l), cell) })
	c.registry.EachCounter(func(e metric.Event, why string, n uint64) {
		desc := family("tulle_"+e.String()+"_total", eventHelp)
		ch <- sample{desc, pairs("reason", why), counter(n)}
	})
	ch <- sample{connections, nil, gauge(float64(c.registry.Connections.Load()))}
	ch <- sample{dropped, nil, counter(c.registry.Dropped())}
	ch <- sample{buildInfo, pairs("goversion", runtime.Version(), "version", c.version), gauge(1)}
	if t := c.registry.CertificateExpiry.Load(); t != 0 {
		ch <- sample{expiry, nil, gauge(float64(t))}
	}
}

const eventHelp = "What the proxy did or met outside of any series, by reason."

func collectCell(ch chan<- prometheus.Metric, l []*dto.LabelPair, c *metric.Cell) {
	if n, t := c.Requests.Load(), c.Tries.Load(); n > 0 || t > 0 {
		ch <- sample{requests, l, counter(n)}
		ch <- sample{failures, l, counter(c.Failures.Load())}
		ch <- sample{duration, l, histogram(c)}
		ch <- sample{tries, l, counter(t)}
		ch <- sample{failedTries, l, counter(c.FailedTries.Load())}
		ch <- sample{retries, l, counter(c.Retries.Load())}
		ch <- sample{retriesRefused, l, counter(c.RetriesRefused.Load())}
		ch <- sample{timeouts, l, counter(c.Timeouts.Load())}
	}
	if n := c.ConnectionsOpened.Load(); n > 0 {
		ch <- sample{opened, l, counter(n)}
		ch <- sample{open, l, gauge(float64(c.ConnectionsOpen.Load()))}
	}
	if r, w := c.ReadBytes.Load(), c.WrittenBytes.Load(); r > 0 || w > 0 {
		ch <- sample{readBytes, l, counter(r)}
		ch <- sample{writtenBytes, l, counter(w)}
	}
}

// sample is one prometheus.Metric.
type sample struct {
	desc   *prometheus.Desc
	labels []*dto.LabelPair
	value  func(*dto.Metric)
}

func (s sample) Desc() *prometheus.Desc { return s.desc }

func (s sample) Write(m *dto.Metric) error {
	m.Label = s.labels
	s.value(m)
	return nil
}

func counter(n uint64) func(*dto.Metric) {
	return func(m *dto.Metric) { m.Counter = &dto.Counter{Value: proto.Float64(float64(n))} }
}

func gauge(v float64) func(*dto.Metric) {
	return func(m *dto.Metric) { m.Gauge = &dto.Gauge{Value: proto.Float64(v)} }
}

func histogram(c *metric.Cell) func(*dto.Metric) {
	return func(m *dto.Metric) {
		var counts [metric.Buckets]uint64
		total := c.Latency(&counts)
		m.Histogram = &dto.Histogram{
			SampleCount: proto.Uint64(total),
			SampleSum:   proto.Float64(c.LatencySum().Seconds()),
			Bucket:      classicBuckets(counts[:]),
		}
	}
}

// classicBuckets adds the cells' buckets up. Their upper bounds are exclusive and Prometheus's are inclusive; in whole
// microseconds that moves only what took a bound to the microsecond.
func classicBuckets(counts []uint64) []*dto.Bucket {
	all := make([]*dto.Bucket, len(bounds))
	var below uint64
	next := 0
	for i, last := range bounds {
		for ; next <= last; next++ {
			below += counts[next]
		}
		all[i] = &dto.Bucket{
			UpperBound:      proto.Float64(metric.Bound(last).Seconds()),
			CumulativeCount: proto.Uint64(below),
		}
	}
	return all
}

// labelPairs are sorted by name, as client_golang wants them.
func labelPairs(l metric.Labels) []*dto.LabelPair {
	return pairs(
		"authority", l.Authority,
		"backend", l.Backend,
		"direction", l.Direction.String(),
		"namespace", l.Namespace,
		"own_id", l.OwnID,
		"peer_address", l.PeerAddress,
		"peer_id", l.PeerID,
		"peer_kind", l.Peer.Kind,
		"peer_name", l.Peer.Name,
		"peer_namespace", l.Peer.Namespace,
		"peer_pod", l.Peer.Pod,
		"port", port(l.Port),
		"protocol", l.Protocol,
		"route", l.Route,
		"security", l.Security.String(),
		"service", l.Service,
	)
}

// pairs leaves out what is empty: for Prometheus that is the same, and the page is a third as long. A name that came from
// a peer may hold anything; a byte that is not UTF-8 would make the whole page fail.
func pairs(namesAndValues ...string) []*dto.LabelPair {
	all := make([]*dto.LabelPair, 0, len(namesAndValues)/2)
	for i := 0; i < len(namesAndValues); i += 2 {
		if v := namesAndValues[i+1]; v != "" {
			all = append(all, &dto.LabelPair{Name: &namesAndValues[i], Value: proto.String(strings.ToValidUTF8(v, "�"))})
		}
	}
	return all
}

func port(p uint32) string {
	if p == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(p), 10)
}
