package forward

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// queuedFlusher is a connection as wire.Conn has it: what is written is claimed by one, and left by
// the flush.
type queuedFlusher struct {
	name     string
	sent     *[]string
	claimed  atomic.Bool
	unsent   atomic.Int64
	mistaken atomic.Int64 // flushes that nobody had claimed
	flushes  atomic.Int64
}

func (f *queuedFlusher) ClaimFlush() bool { return f.claimed.CompareAndSwap(false, true) }

func (f *queuedFlusher) Flush() {
	f.flushes.Add(1)
	if !f.claimed.Swap(false) {
		f.mistaken.Add(1)
	}
	f.unsent.Store(0)
	if f.sent != nil {
		*f.sent = append(*f.sent, f.name)
	}
}

// The first to add flushes for the rest, each connection once, in their order.
func TestTheFirstReaderFlushesForTheRest(t *testing.T) {
	var sent []string
	conn := func(name string) *queuedFlusher { return &queuedFlusher{name: name, sent: &sent} }
	a, b, c, d := conn("a"), conn("b"), conn("c"), conn("d")
	var q flushQueue
	for range 2 { // the second time in memory that was given back
		leads := []bool{q.add([]flusher{a, b}), q.add([]flusher{b}), q.add([]flusher{c, a, d})}
		if !slices.Equal(leads, []bool{true, false, false}) {
			t.Errorf("who has to flush: %v", leads)
		}
		q.Flush()
		if want := []string{"a", "b", "c", "d"}; !slices.Equal(sent, want) {
			t.Errorf("flushed %v, want %v", sent, want)
		}
		sent = sent[:0]
	}
	if q.add(nil) {
		t.Error("a reader that wrote nothing was told to flush")
	}
}

func TestNothingQueuedStaysUnsent(t *testing.T) {
	const readers, rounds = 16, 2000
	var q flushQueue
	reader := wire.New(nil, nil) // without a loop
	conns := make([]queuedFlusher, 5)
	var wg sync.WaitGroup
	for i := range readers {
		wg.Go(func() {
			for n := range rounds {
				f := &conns[(i+n)%len(conns)]
				f.unsent.Add(1)
				q.flush(reader, []flusher{f, &conns[i%len(conns)]})
			}
		})
	}
	wg.Wait()
	for i := range conns {
		if n := conns[i].unsent.Load(); n != 0 {
			t.Errorf("connection %d has %d messages that nobody sent", i, n)
		}
		if n := conns[i].mistaken.Load(); n != 0 {
			t.Errorf("connection %d was flushed %d times for nobody", i, n)
		}
	}
	if len(q.queued) != 0 || q.add(nil) {
		t.Errorf("%d connections were left in the queue", len(q.queued))
	}
}
