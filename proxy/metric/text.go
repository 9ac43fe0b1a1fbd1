package metric

import (
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ContentType is the media type of what Text writes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// BuildInfo is the family that says what something was built from, proxies and servers alike.
const BuildInfo = "tulle_build_info"

// WriteText writes everything that the registry counts, in Prometheus's text format, 0.0.4. version
// is what this proxy was built from.
func (r *Registry) WriteText(t *Text, version string) {
	rows := r.rows()
	for _, f := range cellFamilies {
		f.append(t, rows)
	}
	appendNear(t, rows)
	appendDurations(t, rows)
	r.appendEvents(t)
	r.appendClusters(t)
	r.appendLimited(t)
	r.appendConcurrencies(t)
	t.Gauge("tulle_proxy_connections_open", "Accepted connections that are open now.",
		float64(r.Connections.Load()))
	t.Counter("tulle_series_dropped_total",
		`Times that a new series was counted as "other", beyond the cap.`, float64(r.Dropped()))
	if end := r.CertificateExpiry.Load(); end != 0 {
		t.Gauge("tulle_certificate_expiry_timestamp_seconds",
			"When the proxy's certificate ends; absent before there is one.", float64(end))
	}
	t.Family(BuildInfo, "1, labelled with what this proxy was built from.", "gauge")
	t.Sample(BuildInfo, LabelText("goversion", runtime.Version(), "version", version), 1)
}

// row is a series as it is shown.
type row struct {
	labels string // as LabelText makes them
	cell   *Cell
}

// rows are the series that differ once their labels are text. Of two that do not, only the first is
// shown, for a scraper refuses a page that has the same labels twice.
func (r *Registry) rows() (all []row) {
	seen := map[string]bool{}
	r.Each(func(_ uint32, l Labels, c *Cell) {
		labels := l.text()
		if !seen[labels] {
			seen[labels] = true
			all = append(all, row{labels, c})
		}
	})
	return all
}

// family is one figure of every cell.
type family struct {
	name, help, kind string
	shown            func(*Cell) bool // whether the cell has counted anything of the kind
	value            func(*Cell) uint64
}

// cellFamilies are the figures of a cell, in groups. A series shows those of the groups in which it
// has counted something.
var cellFamilies = []family{
	{"tulle_requests_total", "Requests that ended, as the caller saw them.", "counter",
		hasRequests, func(c *Cell) uint64 { return c.Requests.Load() }},
	{"tulle_request_failures_total",
		"Requests that were no success by their route's class of response.", "counter",
		hasRequests, func(c *Cell) uint64 { return c.Failures.Load() }},
	{"tulle_tries_total", "Requests that were really sent, retries and hedges included.",
		"counter", hasRequests, func(c *Cell) uint64 { return c.Tries.Load() }},
	{"tulle_try_failures_total", "Tries that failed.", "counter",
		hasRequests, func(c *Cell) uint64 { return c.FailedTries.Load() }},
	{"tulle_retries_total", "Tries that repeated one that failed.", "counter",
		hasRequests, func(c *Cell) uint64 { return c.Retries.Load() }},
	{"tulle_hedges_total", "Second tries beside one that was slow.", "counter",
		hasRequests, func(c *Cell) uint64 { return c.Hedges.Load() }},
	{"tulle_retries_refused_total",
		"Retries and hedges that were wanted, but beyond the budget.", "counter",
		hasRequests, func(c *Cell) uint64 { return c.RetriesRefused.Load() }},
	{"tulle_timeouts_total", "Requests that ended at their timeout.", "counter",
		hasRequests, func(c *Cell) uint64 { return c.Timeouts.Load() }},
	{"tulle_requests_faulted_total",
		"Requests that were delayed, or answered with an error, on purpose.", "counter",
		func(c *Cell) bool { return c.Faulted.Load() > 0 },
		func(c *Cell) uint64 { return c.Faulted.Load() }},
	{"tulle_requests_limited_total",
		"Requests that a rate limit, or a limit of their cluster, refused.", "counter",
		func(c *Cell) bool { return c.Limited.Load() > 0 },
		func(c *Cell) uint64 { return c.Limited.Load() }},
	{"tulle_requests_dry_run_refused_total",
		"Requests that a policy would have refused, were it no dry run.", "counter",
		func(c *Cell) bool { return c.DryRefused.Load() > 0 },
		func(c *Cell) uint64 { return c.DryRefused.Load() }},
	{"tulle_tcp_connections_opened_total", "Connections opened.", "counter",
		hasConnections, func(c *Cell) uint64 { return c.ConnectionsOpened.Load() }},
	{"tulle_tcp_connections_open", "Connections open now.", "gauge",
		hasConnections, func(c *Cell) uint64 { return uint64(c.ConnectionsOpen.Load()) }},
	{"tulle_tcp_read_bytes_total", "Bytes read from the peer.", "counter",
		hasBytes, func(c *Cell) uint64 { return c.ReadBytes.Load() }},
	{"tulle_tcp_written_bytes_total", "Bytes written to the peer.", "counter",
		hasBytes, func(c *Cell) uint64 { return c.WrittenBytes.Load() }},
}

func hasRequests(c *Cell) bool    { return c.Requests.Load() > 0 || c.Tries.Load() > 0 }
func hasConnections(c *Cell) bool { return c.ConnectionsOpened.Load() > 0 }
func hasBytes(c *Cell) bool       { return c.ReadBytes.Load() > 0 || c.WrittenBytes.Load() > 0 }

func (f family) append(t *Text, rows []row) {
	first := true
	for _, w := range rows {
		if !f.shown(w.cell) {
			continue
		}
		if first {
			t.Family(f.name, f.help, f.kind)
			first = false
		}
		t.Sample(f.name, w.labels, float64(f.value(w.cell)))
	}
}

// appendEvents writes a family for each event, with a sample for each of its reasons.
func (r *Registry) appendEvents(t *Text) {
	last := events
	r.EachCounter(func(e Event, why string, n uint64) {
		name := "tulle_" + e.String() + "_total"
		if e != last {
			t.Family(name, "What the proxy did or met outside of any series, by reason.", "counter")
			last = e
		}
		t.Sample(name, LabelText("reason", why), float64(n))
	})
}

const durations = "tulle_request_duration_seconds"

func appendDurations(t *Text, rows []row) {
	rows = slices.DeleteFunc(slices.Clone(rows), func(w row) bool { return !hasRequests(w.cell) })
	if len(rows) == 0 {
		return
	}
	t.Family(durations, "Time from a request's head to the end of its response.", "histogram")
	for _, w := range rows {
		appendHistogram(t, w)
	}
}

// appendHistogram writes what a cell's requests took.
func appendHistogram(t *Text, w row) {
	var counts [Buckets]uint64
	w.cell.Latency(&counts)
	t.Histogram(durations, w.labels, time.Second, &Durations{counts, w.cell.LatencySum()})
}

// Durations are what was measured of something: how often, by bucket, and all times added up.
type Durations struct {
	Counts [Buckets]uint64
	Sum    time.Duration
}

// classicBound is a bucket of Prometheus's.
type classicBound struct {
	last           int    // the last of a cell's buckets in it
	seconds, milli string // the label of its bound
}

func (b *classicBound) label(unit time.Duration) string {
	if unit == time.Millisecond {
		return b.milli
	}
	return b.seconds
}

// classicBounds end at powers of two, where a cell's buckets end too, so that each count is exact.
// They are every power from 0.5 ms to 1 s, where answers are, and then every second one up to 67 s.
var classicBounds = makeClassicBounds()

func makeClassicBounds() (all []classicBound) {
	for us := time.Duration(1 << 9); us <= 1<<26; us <<= 1 {
		last := Index(us*time.Microsecond) - 1
		bound := float64(Bound(last) / time.Microsecond)
		all = append(all, classicBound{last, boundLabel(bound / 1e6), boundLabel(bound / 1e3)})
		if us >= 1<<20 {
			us <<= 1
		}
	}
	return all
}

func boundLabel(bound float64) string {
	return LabelText("le", strconv.FormatFloat(bound, 'g', -1, 64))
}

func (l Labels) text() string {
	port := ""
	if l.Port != 0 {
		port = strconv.FormatUint(uint64(l.Port), 10)
	}
	return LabelText("authority", l.Authority, "backend", l.Backend,
		"direction", l.Direction.String(), "namespace", l.Namespace, "own_id", l.OwnID,
		"peer_address", l.PeerAddress, "peer_id", l.PeerID, "peer_kind", l.Peer.Kind,
		"peer_name", l.Peer.Name, "peer_namespace", l.Peer.Namespace, "peer_pod", l.Peer.Pod,
		"port", port, "protocol", l.Protocol, "route", l.Route, "security", l.Security.String(),
		"service", l.Service)
}

// LabelText is labels as they stand between braces. It leaves out labels whose value is empty: to
// Prometheus that is the same, and the page is a third as long.
func LabelText(namesAndValues ...string) string {
	var b strings.Builder
	b.Grow(32 * len(namesAndValues))
	for i := 0; i < len(namesAndValues); i += 2 {
		if namesAndValues[i+1] == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(namesAndValues[i])
		b.WriteString(`="`)
		// A name that came from a peer may hold anything.
		labelEscaper.WriteString(&b, strings.ToValidUTF8(namesAndValues[i+1], "�")) // to memory
		b.WriteByte('"')
	}
	return b.String()
}

var labelEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// textPiece is how much of a page is written at a time, bytes: with a full table of series a page
// has several MB.
const textPiece = 32 << 10

// Text writes a page in Prometheus's text format. All samples of a family follow each other. Use
// NewText, and Flush at the end.
type Text struct {
	piece []byte
	write func(piece []byte) bool
	over  bool
}

// NewText makes a page that is written piece by piece. write must not keep the piece; once it
// returns false nothing more is written.
func NewText(write func(piece []byte) bool) *Text {
	return &Text{piece: make([]byte, 0, textPiece), write: write}
}

// Flush writes what is left.
func (t *Text) Flush() {
	if len(t.piece) > 0 && !t.over {
		t.over = !t.write(t.piece)
	}
	t.piece = t.piece[:0]
}

// Family begins a family. kind is counter, gauge, histogram or summary.
func (t *Text) Family(name, help, kind string) {
	for _, s := range []string{"# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"} {
		t.piece = append(t.piece, s...)
	}
}

// Sample adds a sample of the family that was begun last. labels are LabelText's, or empty.
func (t *Text) Sample(name, labels string, v float64) {
	t.sample(name, "", labels, "", v)
}

// sample is Sample for a name in two parts and labels in two parts.
func (t *Text) sample(name, suffix, labels, last string, v float64) {
	b := append(append(t.piece, name...), suffix...)
	if labels != "" || last != "" {
		b = append(append(b, '{'), labels...)
		if labels != "" && last != "" {
			b = append(b, ',')
		}
		b = append(append(b, last...), '}')
	}
	b = append(b, ' ')
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		b = strconv.AppendInt(b, int64(v), 10)
	} else {
		b = strconv.AppendFloat(b, v, 'g', -1, 64)
	}
	if t.piece = append(b, '\n'); len(t.piece) >= textPiece {
		t.Flush()
	}
}

// Histogram adds a histogram to the family that was begun last, in a unit: time.Second, or the
// time.Millisecond of names that end in ms. The upper bounds of our buckets are exclusive and
// Prometheus's are inclusive. In whole microseconds that only moves what took exactly a bound.
func (t *Text) Histogram(name, labels string, unit time.Duration, d *Durations) {
	below, next := uint64(0), 0
	for i := range classicBounds {
		b := &classicBounds[i]
		for ; next <= b.last; next++ {
			below += d.Counts[next]
		}
		t.sample(name, "_bucket", labels, b.label(unit), float64(below))
	}
	for ; next < Buckets; next++ {
		below += d.Counts[next]
	}
	t.sample(name, "_bucket", labels, `le="+Inf"`, float64(below))
	t.sample(name, "_sum", labels, "", float64(d.Sum)/float64(unit))
	t.sample(name, "_count", labels, "", float64(below))
}

// EachClassic calls f with Prometheus's classic buckets, smallest first: the upper bound of each in
// a unit, the last of which is infinite, and how many durations are not above it.
func (d *Durations) EachClassic(unit time.Duration, f func(bound float64, below uint64)) {
	below, next := uint64(0), 0
	for i := range classicBounds {
		last := classicBounds[i].last
		for ; next <= last; next++ {
			below += d.Counts[next]
		}
		f(float64(Bound(last))/float64(unit), below)
	}
	for ; next < Buckets; next++ {
		below += d.Counts[next]
	}
	f(math.Inf(1), below)
}

// Gauge is a whole family of one sample without labels.
func (t *Text) Gauge(name, help string, v float64) {
	t.Family(name, help, "gauge")
	t.Sample(name, "", v)
}

// Counter is a whole family of one sample without labels.
func (t *Text) Counter(name, help string, v float64) {
	t.Family(name, help, "counter")
	t.Sample(name, "", v)
}
