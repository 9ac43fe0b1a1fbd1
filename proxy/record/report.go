package record

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	destination "github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/identity/spiffe"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/rpc"
	"github.com/tulle-mesh/tulle/viz/api"
)

const (
	reportMethod      = "/tulle.viz.v1.Viz/Report"
	reportInterval    = time.Second
	reportIntervalMax = time.Minute // whatever viz asks for
	// Patience is how long viz may take to acknowledge a report.
	Patience = 30 * time.Second
)

// Reporter sends the registry's cells to viz: all of them at first, then those that changed.
// Counters are cumulative, so what is lost is made good by the next report.
type Reporter struct {
	Options
	StartID string // of the process, random
	start   time.Time
}

// Options are what a reporter needs from others.
type Options struct {
	Version  string
	Metrics  *metric.Registry
	Source   *spiffe.Source
	Patience time.Duration
	// That destination takes the proxy for; nil: it has not said.
	Workload func() *destination.Workload
	// What it holds of destination's: see discover.Holding.
	Holding func() (revision string, age time.Duration, connected bool)
	Settled <-chan struct{} // closed when no request will be counted any more
}

// New makes a reporter, which counts as a new process to viz.
func New(o Options) *Reporter {
	o.Metrics.Told()
	return &Reporter{Options: o, StartID: rand.Text(), start: time.Now()}
}

// telling is a stream to one of viz's replicas, which are told apart from each other: each has its
// own stream, and hears everything.
type telling struct {
	*Reporter
	stream   *rpc.Stream
	sequence uint64
	sent     map[uint32]sent // by series id
	buckets  [metric.Buckets]uint64
	interval time.Duration
	replicas uint32 // viz's mark of which there are; 0: it has not said
	changed  func()
}

// sent is what was last said of a series, and in which report it was there.
type sent struct{ mark, sequence uint64 }

var errSilent = errors.New("viz does not acknowledge reports")

// Report reports on a stream of its own until that ends, or the requests have ended, and then once
// more. While draining it goes on: the last requests count too. It says whether viz has heard
// anything, and calls changed when viz says that its replicas are others. Several may run at the
// same time, one for each replica.
func (r *Reporter) Report(
	ctx context.Context, client *rpc.Client, changed func(),
) (heard bool, err error) {
	if _, err := r.Source.Wait(ctx); err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s, err := client.Open(ctx, reportMethod)
	if err != nil {
		return false, err
	}
	defer s.Close()
	t := &telling{Reporter: r, stream: s, sent: map[uint32]sent{}, interval: reportInterval,
		changed: changed}
	late := time.AfterFunc(r.Patience, func() { cancel(errSilent) })
	defer late.Stop()
	for {
		late.Reset(r.Patience)
		if err := t.once(); err != nil {
			return heard, errors.Join(err, context.Cause(ctx))
		}
		late.Stop()
		heard = true
		select {
		case <-time.After(t.interval):
		case <-r.Settled:
			return true, t.once()
		}
	}
}

// once reports, and waits until viz has it.
func (t *telling) once() error {
	now := time.Now()
	if err := t.stream.Send(t.next()); err != nil {
		return err
	}
	m := &api.ReportResponse{}
	if err := t.stream.Recv(m); err != nil {
		return err
	}
	t.Metrics.Acknowledged(now)
	if t.replicas != 0 && m.Replicas != t.replicas {
		t.changed()
	}
	t.replicas = m.Replicas
	if ms := m.IntervalMs; ms > 0 {
		t.interval = min(time.Duration(ms)*time.Millisecond, reportIntervalMax)
	}
	return nil
}

// next is the report of everything that changed.
func (t *telling) next() *api.ReportRequest {
	t.sequence++
	m := &api.ReportRequest{
		StartId:       t.StartID,
		Sequence:      t.sequence,
		UptimeMs:      uint64(time.Since(t.start).Milliseconds()),
		Version:       t.Version,
		DroppedSeries: t.Metrics.Dropped(),
	}
	m.Workload = workloadOf(t.Workload())
	if svid := t.Source.SVID(); svid != nil {
		m.CertificateExpiryUnix = svid.Certificates[0].NotAfter.Unix()
		t.Metrics.CertificateExpiry.Store(m.CertificateExpiryUnix)
	}
	revision, age, connected := t.Holding()
	m.ConfigRevision, m.ConfigAgeMs, m.ConfigConnected = revision, uint64(age.Milliseconds()),
		connected
	there := 0
	t.Metrics.Each(func(id uint32, l metric.Labels, c *metric.Cell) {
		there++
		s := t.series(id, c)
		ejected, endpoints := t.Metrics.Endpoints(l)
		s.Ejected, s.Endpoints = uint64(ejected), uint64(endpoints)
		mark := markOf(s)
		last, known := t.sent[id]
		if known && last.mark == mark {
			t.sent[id] = sent{mark, t.sequence}
			return
		}
		if !known {
			s.Labels = labelsOf(l)
		}
		t.sent[id] = sent{mark, t.sequence}
		m.Series = append(m.Series, s)
	})
	if there < len(t.sent) {
		m.Ended = t.ended()
	}
	return m
}

// ended are the series that were there at the last report, and are not any more.
func (t *telling) ended() (ids []uint32) {
	for id, last := range t.sent {
		if last.sequence != t.sequence {
			delete(t.sent, id)
			ids = append(ids, id)
		}
	}
	return ids
}

func (t *telling) series(id uint32, c *metric.Cell) *api.Series {
	s := &api.Series{
		Id:                id,
		Requests:          c.Requests.Load(),
		Failures:          c.Failures.Load(),
		Tries:             c.Tries.Load(),
		FailedTries:       c.FailedTries.Load(),
		Retries:           c.Retries.Load(),
		RetriesRefused:    c.RetriesRefused.Load(),
		Timeouts:          c.Timeouts.Load(),
		Faulted:           c.Faulted.Load(),
		Limited:           c.Limited.Load(),
		DryRefused:        c.DryRefused.Load(),
		ConnectionsOpened: c.ConnectionsOpened.Load(),
		ConnectionsOpen:   c.ConnectionsOpen.Load(),
		ReadBytes:         c.ReadBytes.Load(),
		WrittenBytes:      c.WrittenBytes.Load(),
		LatencySumUs:      uint64(c.LatencySum().Microseconds()),
		TriesInZone:       c.Near(metric.SameZone),
		TriesInRegion:     c.Near(metric.SameRegion),
		TriesFarther:      c.Near(metric.Farther),
	}
	if e := c.Exemplar(); e != nil {
		s.Exemplar = &api.Exemplar{TraceId: e.Trace[:], SpanId: e.Span[:],
			LatencyUs: uint64(max(e.Latency, 0).Microseconds())}
	}
	c.EachReason(func(number uint8, n uint64) {
		s.Reasons = append(s.Reasons,
			&api.ReasonCount{Reason: outcome.Reason(number).String(), Count: n})
	})
	if c.Latency(&t.buckets) == 0 {
		return s
	}
	for i, n := range t.buckets {
		if n > 0 {
			s.Bucket = append(s.Bucket, uint32(i))
			s.BucketCount = append(s.BucketCount, n)
		}
	}
	return s
}

// markOf changes whenever a series does: everything in it but the gauges only grows. What counts
// some of the requests changes with them.
func markOf(s *api.Series) uint64 {
	return s.Requests + s.Tries + s.RetriesRefused + s.Timeouts + s.DryRefused +
		s.ConnectionsOpened<<20 + s.ConnectionsOpen<<40 + s.Ejected<<52 + s.Endpoints<<32 +
		s.ReadBytes + s.WrittenBytes
}

func labelsOf(l metric.Labels) *api.Labels {
	out := &api.Labels{
		Direction:   api.Direction(l.Direction),
		Authority:   l.Authority,
		Namespace:   l.Namespace,
		Service:     l.Service,
		Route:       l.Route,
		Backend:     l.Backend,
		PeerId:      l.PeerID,
		OwnId:       l.OwnID,
		Security:    api.Security(l.Security),
		Protocol:    l.Protocol,
		PeerAddress: l.PeerAddress,
		Port:        l.Port,
	}
	if w := l.Peer; w != (metric.Workload{}) {
		out.Peer = &api.Workload{Namespace: w.Namespace, Kind: w.Kind, Name: w.Name, Pod: w.Pod}
	}
	return out
}

// workloadOf is what destination takes this proxy for; nil: it has not said.
func workloadOf(w *destination.Workload) *api.Workload {
	if w == nil {
		return nil
	}
	return &api.Workload{Namespace: w.Namespace, Kind: w.Kind, Name: w.Name, Pod: w.Pod}
}
