package record

import (
	"context"
	"crypto/rand"
	"log/slog"
	mathrand "math/rand/v2"
	"time"

	destination "github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/identity/spiffe"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/rpc"
	"github.com/tulle-mesh/tulle/viz/api"
)

const (
	reportMethod      = "/tulle.viz.v1.Viz/Report"
	reportInterval    = time.Second
	reportIntervalMax = time.Minute // whatever viz asks for
	reportBackoff     = time.Second
	reportBackoffMax  = 15 * time.Second
)

// Reporter sends the registry's cells to viz: all of them at first, then those that changed.
// Counters are cumulative, so what is lost is made good by the next report.
type Reporter struct {
	Options
	startID  string
	start    time.Time
	sequence uint64
	sent     map[uint32]uint64 // series id to a mark of what was last sent of it, on this stream
	buckets  [metric.Buckets]uint64
}

// Options are what a reporter needs from others.
type Options struct {
	Client   *rpc.Client
	Version  string
	Log      *slog.Logger
	Metrics  *metric.Registry
	Source   *spiffe.Source
	Failures *metric.Counter
	// That destination takes the proxy for; nil: it has not said.
	Workload func() *destination.Workload
	Settled  <-chan struct{} // closed when no request will be counted any more
}

// New makes a reporter, which counts as a new process to viz.
func New(o Options) *Reporter {
	return &Reporter{Options: o, startID: rand.Text(), start: time.Now()}
}

// Run reports until the requests have ended, and then once more; nothing waits for viz, and nothing
// is lost while it is away.
func (r *Reporter) Run(ctx context.Context) {
	wait := reportBackoff
	for {
		acknowledged, err := r.stream(ctx)
		if r.over() {
			return
		}
		if acknowledged {
			wait = reportBackoff
		}
		r.Failures.Inc()
		r.Log.Debug("reporting to viz ended", "err", err)
		select {
		case <-time.After(wait/2 + mathrand.N(wait)):
		case <-r.Settled:
			return
		}
		wait = min(2*wait, reportBackoffMax)
	}
}

// stream reports on one stream until it ends. While draining it goes on: the last requests count
// too.
func (r *Reporter) stream(ctx context.Context) (acknowledged bool, err error) {
	if _, err := r.Source.Wait(ctx); err != nil {
		return false, err
	}
	s, err := r.Client.Open(ctx, reportMethod)
	if err != nil {
		return false, err
	}
	defer s.Close()
	r.sent = map[uint32]uint64{}
	interval := reportInterval
	for {
		m := &api.ReportResponse{}
		if err := s.Send(r.next()); err != nil {
			return acknowledged, err
		}
		if err := s.Recv(m); err != nil {
			return acknowledged, err
		}
		acknowledged = true
		if ms := m.IntervalMs; ms > 0 {
			interval = min(time.Duration(ms)*time.Millisecond, reportIntervalMax)
		}
		select {
		case <-time.After(interval):
		case <-r.Settled:
			return true, r.last(s)
		}
	}
}

func (r *Reporter) over() bool {
	select {
	case <-r.Settled:
		return true
	default:
		return false
	}
}

// last reports once more, for what ended since.
func (r *Reporter) last(s *rpc.Stream) error {
	if err := s.Send(r.next()); err != nil {
		return err
	}
	return s.Recv(&api.ReportResponse{})
}

// next is the report of everything that changed.
func (r *Reporter) next() *api.ReportRequest {
	r.sequence++
	m := &api.ReportRequest{
		StartId:       r.startID,
		Sequence:      r.sequence,
		UptimeMs:      uint64(time.Since(r.start).Milliseconds()),
		Version:       r.Version,
		DroppedSeries: r.Metrics.Dropped(),
	}
	if w := r.Workload(); w != nil {
		m.Workload = &api.Workload{Namespace: w.Namespace, Kind: w.Kind, Name: w.Name, Pod: w.Pod}
	}
	if svid := r.Source.SVID(); svid != nil {
		m.CertificateExpiryUnix = svid.Certificates[0].NotAfter.Unix()
		r.Metrics.CertificateExpiry.Store(m.CertificateExpiryUnix)
	}
	r.Metrics.Each(func(id uint32, l metric.Labels, c *metric.Cell) {
		s := r.series(id, c)
		ejected, endpoints := r.Metrics.Endpoints(l)
		s.Ejected, s.Endpoints = uint64(ejected), uint64(endpoints)
		mark := markOf(s)
		last, known := r.sent[id]
		if known && last == mark {
			return
		}
		if !known {
			s.Labels = labelsOf(l)
		}
		r.sent[id] = mark
		m.Series = append(m.Series, s)
	})
	return m
}

func (r *Reporter) series(id uint32, c *metric.Cell) *api.Series {
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
		ConnectionsOpened: c.ConnectionsOpened.Load(),
		ConnectionsOpen:   c.ConnectionsOpen.Load(),
		ReadBytes:         c.ReadBytes.Load(),
		WrittenBytes:      c.WrittenBytes.Load(),
		LatencySumUs:      uint64(c.LatencySum().Microseconds()),
	}
	if c.Latency(&r.buckets) == 0 {
		return s
	}
	for i, n := range r.buckets {
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
	return s.Requests + s.Tries + s.RetriesRefused + s.Timeouts +
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
