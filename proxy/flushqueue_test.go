package proxy

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

// queuedFlusher is a connection as wire.Conn has it: what is written is claimed by one, and left by the flush.
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

// Readers run in the reverse order of their wake-ups: the last batch to be queued is of the peer that has waited longest. What
// one reader wrote stays in its order.
func TestTheFirstReaderFlushesForTheRestInReverse(t *testing.T) {
	var sent []string
	conn := func(name string) *queuedFlusher { return &queuedFlusher{name: name, sent: &sent} }
	a, b, c, d := conn("a"), conn("b"), conn("c"), conn("d")
	var q flushQueue
	for range 2 { // the second time in memory that was given back
		leads := []bool{q.add([]flusher{a, b}), q.add([]flusher{b}), q.add([]flusher{c, a, d})}
		if !slices.Equal(leads, []bool{true, false, false}) {
			t.Errorf("who has to flush: %v", leads)
		}
		l := q.take()
		l.flush()
		q.giveBack(l)
		if want := []string{"c", "d", "a", "b"}; !slices.Equal(sent, want) {
			t.Errorf("flushed %v, want %v", sent, want)
		}
		sent = sent[:0]
	}
	if q.add(nil) {
		t.Error("a reader that wrote nothing was told to flush")
	}
}

// The runtime takes a reader that yields up again after 61 others, though more could run: the flush is for all of them.
func TestTheFirstReaderWaitsForAllThatCanRun(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const readers = 200
	var q flushQueue
	var peer queuedFlusher
	var flushes atomic.Int64
	var wg sync.WaitGroup
	ready := make(chan struct{})
	for range readers {
		wg.Go(func() {
			<-ready
			own := countedFlusher{&queuedFlusher{}, &flushes}
			q.flush([]flusher{&peer, own})
		})
	}
	runtime.Gosched() // all wait
	close(ready)
	wg.Wait()
	if n := flushes.Load(); n != readers {
		t.Errorf("%d of %d readers' output was flushed", n, readers)
	}
	if n := peer.flushes.Load(); n > 2 {
		t.Errorf("the connection that all wrote to was flushed %d times", n)
	}
}

type countedFlusher struct {
	*queuedFlusher
	all *atomic.Int64
}

func (f countedFlusher) Flush() {
	f.all.Add(1)
	f.queuedFlusher.Flush()
}

func TestNothingQueuedStaysUnsent(t *testing.T) {
	const readers, rounds = 16, 2000
	var q flushQueue
	conns := make([]queuedFlusher, 5)
	var wg sync.WaitGroup
	for i := range readers {
		wg.Go(func() {
			for n := range rounds {
				f := &conns[(i+n)%len(conns)]
				f.unsent.Add(1)
				q.flush([]flusher{f, &conns[i%len(conns)]})
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
	if len(q.queued.all) != 0 || q.add(nil) {
		t.Errorf("%d connections were left in the queue", len(q.queued.all))
	}
}
