package record

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/proxy/backoff"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/rpc"
	"github.com/tulle-mesh/tulle/viz/api"
)

const (
	recordsMethod = "/tulle.viz.v1.Viz/Records"
	// recordsQueue is how many records may wait to be sent: some 3 MiB of the longest texts that
	// peers can send.
	recordsQueue = 512
	// A message has so many records at most, of so many bytes, and goes out so long after its
	// first.
	recordsBatch      = 256
	recordsBatchBytes = 256 << 10
	recordsEvery      = 100 * time.Millisecond
	// countsEvery is how often taps' counts are told that change without a record.
	countsEvery = time.Second
	// keptPerSecond is how many records go to viz that no tap asks for: of what did not go well,
	// and as many of what is traced though nobody has sampled it, for it is worth it.
	keptPerSecond = 100
	// sampledPerSecond is the same of what is sampled and went well. How much that is decides who
	// samples, and what one proxy leaves out is a hole in a trace that others tell of; so the bound
	// is that of the spans which a collector gets. What waits is bounded by the queue all the same.
	sampledPerSecond = 1000
	// hopsPerSecond bounds what callers' proxies make this one show.
	hopsPerSecond = 1000
	recordsWait   = time.Minute // at most, until viz is tried again
)

// Records shows single requests to one of viz's replicas while somebody wants to see them. Run is
// one goroutine, its caller's, and has another one while there is a stream.
type Records struct {
	RecordsOptions
	began   time.Time
	queue   chan wanted
	asked   chan *api.EndpointsQuestion // of the stream that there is
	dropped atomic.Uint64
	taps    atomic.Pointer[taps] // nil: there is no stream
	news    chan struct{}        // holds one: the taps have changed
	kept    struct{ sampled, worth, unwell bucket }
	hops    bucket
}

// RecordsOptions are what Records needs from others.
type RecordsOptions struct {
	Options
	StartID string
	Client  *rpc.Client // of one of viz's replicas
	Log     *slog.Logger
	Met     <-chan struct{} // closed when destination has said whose proxy this is
	Changed func()          // is called when Join has another answer
	// Endpoints says how those of some clusters are doing.
	Endpoints func(clusters []string) *api.EndpointsAnswer
}

// wanted is a record that is to be sent, and for which taps.
type wanted struct {
	*outcome.Record
	taps []uint32
}

// NewRecords makes one that shows nothing yet.
func NewRecords(o RecordsOptions) *Records {
	r := &Records{RecordsOptions: o, began: time.Now(), news: make(chan struct{}, 1),
		queue: make(chan wanted, recordsQueue),
		asked: make(chan *api.EndpointsQuestion, api.MaxQuestions)}
	r.kept.sampled.every = interval(sampledPerSecond, sampledPerSecond)
	r.kept.worth.every = interval(keptPerSecond, keptPerSecond)
	r.kept.unwell.every = r.kept.worth.every
	r.hops.every = interval(hopsPerSecond, hopsPerSecond)
	return r
}

// Join makes a hook one that shows requests, too, as far as somebody wants to see them now. Of
// those that are traced and that nobody has sampled, worth says which are. A hook may be that of
// several replicas.
func (r *Records) Join(h *outcome.Hook, worth func(*outcome.Record) bool) {
	all := r.taps.Load()
	if all == nil {
		return
	}
	h.All, h.Joined = h.All || all.looking(), h.Joined || len(*all) > 0
	live, pick := h.Live, h.Pick
	h.Live = func(o *outcome.Record) {
		if live != nil {
			live(o)
		}
		r.take(o, worth)
	}
	if !all.looking() {
		return
	}
	h.Pick = func(o *outcome.Record) {
		if pick != nil {
			pick(o)
		}
		all.pick(o, time.Since(r.began))
	}
}

// take is an outcome.Hook's Live.
func (r *Records) take(o *outcome.Record, worth func(*outcome.Record) bool) {
	all := r.taps.Load()
	if all == nil {
		return
	}
	now := time.Since(r.began)
	shown := r.show(*all, o, now)
	if shown == nil && !r.hopped(*all, o, now) && !r.keep(o, worth, now) {
		return
	}
	select {
	case r.queue <- wanted{o, shown}:
	default:
		r.dropped.Add(1)
	}
}

// show is for which taps a record is to be shown. A copy of a request is none.
func (r *Records) show(all taps, o *outcome.Record, now time.Duration) (ids []uint32) {
	if len(all) == 0 || o.Trace != nil && o.Trace.Link != nil {
		return nil
	}
	for _, t := range all {
		if t.takes(o, now) {
			ids = append(ids, t.id)
		}
	}
	return ids
}

// hopped reports whether another proxy shows the request, and this one should.
func (r *Records) hopped(all taps, o *outcome.Record, now time.Duration) bool {
	return len(all) > 0 && o.Hop != 0 && o.Labels.Direction == metric.Inbound && r.hops.take(now)
}

// keep reports whether viz is to have a record that no tap asks for.
func (r *Records) keep(
	o *outcome.Record, worth func(*outcome.Record) bool, now time.Duration,
) bool {
	switch {
	case unwell(o):
		return r.kept.unwell.take(now)
	case o.Trace == nil:
		return false
	case !o.Trace.Held:
		return r.kept.sampled.take(now)
	}
	return worth(o) && r.kept.worth.take(now)
}

// Run shows what is wanted until the requests have ended.
func (r *Records) Run(ctx context.Context) {
	select {
	case <-r.Met:
	case <-r.Settled:
		return
	case <-ctx.Done():
		return
	}
	pause := backoff.Backoff{Min: retryAfter, Max: recordsWait}
	for {
		heard, err := r.stream(ctx)
		if r.over() {
			return
		}
		if heard {
			pause.Reset()
		}
		r.Log.Debug("showing requests to viz ended", "err", err)
		select {
		case <-time.After(pause.Next()):
		case <-r.Settled:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (r *Records) over() bool {
	select {
	case <-r.Settled:
		return true
	default:
		return false
	}
}

// stream shows on one stream until it ends, and reports whether viz has said anything.
func (r *Records) stream(ctx context.Context) (heard bool, err error) {
	if _, err := r.Source.Wait(ctx); err != nil {
		return false, err
	}
	s, err := r.Client.Open(ctx, recordsMethod)
	if err != nil {
		return false, err
	}
	r.unask()
	var why error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		why = r.hear(s, &heard)
	}()
	err = r.tell(s, ended)
	s.Close()
	<-ended
	if err == nil {
		err = why
	}
	r.taps.Store(nil)
	r.Changed()
	return heard, err
}

// hear follows which taps there are until the stream ends.
func (r *Records) hear(s *rpc.Stream, heard *bool) error {
	for {
		m := &api.RecordsResponse{}
		if err := s.Recv(m); err != nil {
			return err
		}
		*heard = true
		r.follow(m)
	}
}

// follow takes what viz says.
func (r *Records) follow(m *api.RecordsResponse) {
	var now taps
	if all := r.taps.Load(); all != nil {
		now = *all
	}
	r.ask(m.Endpoints)
	next := now.follow(m.Taps)
	r.taps.Store(&next)
	r.Changed()
	select {
	case r.news <- struct{}{}:
	default:
	}
}
