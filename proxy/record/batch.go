package record

import (
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/proxy/rpc"
	"github.com/tulle-mesh/tulle/viz/api"
)

// batch is a message to viz in the making.
type batch struct {
	from    *Records
	stream  *rpc.Stream
	m       *api.RecordsRequest
	size    int
	dropped uint64           // of Records, as viz knows it
	due     <-chan time.Time // nil: nothing waits to be told
}

// tell sends records until viz says no more, or the requests have ended.
func (r *Records) tell(s *rpc.Stream, ended <-chan struct{}) error {
	b := &batch{from: r, stream: s}
	b.dropped = r.dropped.Load()
	b.m = &api.RecordsRequest{StartId: r.StartID, Workload: workloadOf(r.Workload()),
		Dropped: b.dropped}
	if err := s.Send(b.m); err != nil {
		return err
	}
	b.renew()
	for {
		var err error
		select {
		case w := <-r.queue:
			err = b.add(w)
		case q := <-r.asked:
			err = b.answer(q)
		case <-b.due:
			err = b.send()
		case <-r.news:
			b.wait(countsEvery)
		case <-r.Settled:
			return b.last()
		case <-ended:
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (b *batch) renew() { b.m, b.size = &api.RecordsRequest{StartId: b.from.StartID}, 0 }

// wait makes sure that something is sent in so long a time.
func (b *batch) wait(d time.Duration) {
	if b.due == nil {
		b.due = time.After(d)
	}
}

func (b *batch) add(w wanted) error {
	m := message(w.Record, w.taps)
	if len(b.m.Records) == 0 {
		b.due = time.After(recordsEvery)
	}
	b.m.Records = append(b.m.Records, m)
	if b.size += proto.Size(m); len(b.m.Records) < recordsBatch && b.size < recordsBatchBytes {
		return nil
	}
	return b.send()
}

// send sends what there is, if it is anything, and looks again while there are taps.
func (b *batch) send() error {
	b.due = nil
	if all := b.from.taps.Load(); all != nil {
		for _, t := range *all {
			if c := t.count(); c != nil {
				b.m.Taps = append(b.m.Taps, c)
			}
		}
		if len(*all) > 0 {
			b.wait(countsEvery)
		}
	}
	b.m.Dropped = b.from.dropped.Load()
	if len(b.m.Records) == 0 && len(b.m.Taps) == 0 && b.m.Dropped == b.dropped {
		return nil
	}
	b.dropped = b.m.Dropped
	defer b.renew()
	return b.stream.Send(b.m)
}

// last sends what waits at the end.
func (b *batch) last() error {
	for len(b.from.queue) > 0 {
		if err := b.add(<-b.from.queue); err != nil {
			return err
		}
	}
	return b.send()
}
