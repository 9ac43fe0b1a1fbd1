package metric

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func labels(i int) Labels { return Labels{Direction: Outbound, Authority: fmt.Sprint("svc-", i)} }

func cells(r *Registry) map[Labels]*Cell {
	all := map[Labels]*Cell{}
	r.Each(func(_ uint32, l Labels, c *Cell) { all[l] = c })
	return all
}

func TestSameLabelsSameCell(t *testing.T) {
	r := NewRegistry()
	a := Labels{Direction: Inbound, Peer: Workload{Name: "web"}, Port: 80}
	b := a
	b.Port = 81
	first, again := r.Cell(a), r.Cell(a)
	if first != again || first == r.Cell(b) {
		t.Fatal("a cell is found by its labels and nothing else")
	}
}

func TestEachIsInOrderOfIDs(t *testing.T) {
	r := NewRegistry()
	for i := range 100 {
		r.Cell(labels(i))
	}
	var last uint32
	r.Each(func(id uint32, l Labels, _ *Cell) {
		if id != last+1 || l != labels(int(id)-1) {
			t.Fatalf("id %d (%v) after %d", id, l.Authority, last)
		}
		last = id
	})
	if last != 100 {
		t.Fatalf("saw %d of 100", last)
	}
}

func TestBeyondTheCapFoldsIntoOther(t *testing.T) {
	r := NewRegistry()
	for i := range MaxSeries {
		r.Cell(labels(i))
	}
	one, two := r.Cell(labels(MaxSeries)), r.Cell(labels(MaxSeries+1))
	in := r.Cell(Labels{Direction: Inbound, PeerAddress: "10.0.0.1"})
	if one != two || one == in {
		t.Fatal("want one other cell for each direction")
	}
	if r.Dropped() != 3 {
		t.Fatalf("dropped %d, want 3", r.Dropped())
	}
	all := cells(r)
	if len(all) != MaxSeries+2 || all[Labels{Direction: Inbound, Authority: Other}] != in {
		t.Fatalf("%d series, other inbound %p want %p", len(all), all[otherLabels(Inbound)], in)
	}
	if r.Cell(labels(0)) == one {
		t.Fatal("a known series must stay its own")
	}
}

// What nobody uses makes room; what is held, active, or has a connection open stays and keeps
// counting.
func TestIdleSeriesAreRetired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry()
		held, active, open := r.Cell(labels(0)), r.Cell(labels(1)), r.Cell(labels(2))
		open.OpenConnection()
		for i := 3; i < MaxSeries; i++ {
			r.Cell(labels(i)).Requests.Add(1)
		}
		for range 3 {
			time.Sleep(RetireAfter)
			active.Requests.Add(1)
			r.Cell(Labels{Route: "sweep"})
			runtime.GC()
		}
		// held, active, open, the one that swept, and the other cell of a full table
		if n := len(cells(r)); n != 5 {
			t.Fatalf("%d series left, want 5", n)
		}
		held.Requests.Add(7)
		if c := cells(r)[labels(0)]; c != held || r.Cell(labels(0)) != held {
			t.Fatal("a retired cell that is held is still the cell of its labels")
		}
		if cells(r)[labels(1)] != active || cells(r)[labels(2)] != open {
			t.Fatal("a series in use was retired")
		}
		runtime.KeepAlive(open)
	})
}

// A series that comes back starts at zero, so it must have another id.
func TestReturnedSeriesHasNewID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry()
		for i := range sweepFrom {
			r.Cell(labels(i)).Requests.Add(1)
		}
		for i := range 3 {
			time.Sleep(RetireAfter)
			r.Cell(Labels{Route: fmt.Sprint(i)})
			runtime.GC()
		}
		if c := r.Cell(labels(0)); c.Requests.Load() != 0 {
			t.Fatal("the idle cell was not retired")
		}
		r.Each(func(id uint32, l Labels, _ *Cell) {
			if l == labels(0) && id <= sweepFrom {
				t.Fatalf("id %d was used again", id)
			}
		})
	})
}

// A proxy of years meets a hundred thousand peers, and remembers those of the last minutes.
func TestPeersThatComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const peers, aMinute = 100_000, 30
		r := NewRegistry()
		r.Told()
		for i := range peers {
			r.Cell(Labels{Peer: Workload{Pod: fmt.Sprint(i)}}).Requests.Add(1)
			if i%aMinute > 0 {
				continue
			}
			time.Sleep(time.Minute)
			r.Acknowledged(time.Now())
			if i%(2*aMinute) == 0 {
				runtime.GC()
			}
			if n := len(cells(r)); n > MaxSeries || r.Dropped() > 0 {
				t.Fatalf("after %d peers there are %d series, and %d were folded", i, n,
					r.Dropped())
			}
		}
	})
}

// What viz has not acknowledged is kept, unless there is no other room.
func TestWhatVizDoesNotKnowIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRegistry()
		r.Told()
		for i := range sweepFrom {
			r.Cell(labels(i)).Requests.Add(1)
		}
		idle := func() {
			for range 3 {
				time.Sleep(RetireAfter)
				r.Cell(Labels{Route: time.Now().String()}).Requests.Add(1)
				runtime.GC()
			}
		}
		r.Acknowledged(time.Now().Add(-time.Second))
		idle()
		if n := len(cells(r)); n < sweepFrom {
			t.Errorf("%d series are left, of %d that viz does not know", n, sweepFrom)
		}
		for i := range MaxSeries {
			r.Cell(labels(i)).Requests.Add(1)
		}
		idle()
		if n := len(cells(r)); n > 10 {
			t.Errorf("%d series are left where there was no room", n)
		}
	})
}

func TestConnectionsGoUpAndDown(t *testing.T) {
	var c Cell
	c.OpenConnection()
	c.OpenConnection()
	c.CloseConnection()
	if c.ConnectionsOpened.Load() != 2 || c.ConnectionsOpen.Load() != 1 {
		t.Fatalf("opened %d open %d", c.ConnectionsOpened.Load(), c.ConnectionsOpen.Load())
	}
}

func TestReasonsAreBounded(t *testing.T) {
	r := NewRegistry()
	for i := range MaxReasons * 2 {
		r.Counter(ProtocolError, fmt.Sprint("reason_", i)).Inc()
	}
	refused := r.Counter(ConnectionRefused, "limit")
	refused.Add(2)
	if r.Counter(ConnectionRefused, "limit") != refused {
		t.Fatal("one counter for one reason")
	}
	seen := map[Event]int{}
	var other, total uint64
	r.EachCounter(func(e Event, why string, n uint64) {
		seen[e]++
		total += n
		if why == Other {
			other = n
		}
	})
	if seen[ProtocolError] != MaxReasons+1 || other != MaxReasons || total != MaxReasons*2+2 {
		t.Fatalf("%d reasons, %d in other, %d in all", seen[ProtocolError], other, total)
	}
}

func TestEveryEventHasAName(t *testing.T) {
	seen := map[string]bool{}
	for e := range events {
		if n := e.String(); n == "" || n == "unknown" || seen[n] {
			t.Errorf("event %d is called %q", e, n)
		}
		seen[e.String()] = true
	}
}

// Run with -race: recording, resolving and reading at once, and nothing lost.
func TestConcurrentRecording(t *testing.T) {
	const workers, each = 8, 2000
	r := NewRegistry()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range each {
				c := r.Cell(labels(i % 10))
				c.Requests.Add(1)
				c.ObserveLatency(time.Duration(i) * time.Microsecond)
				r.Counter(RetryCause, "status").Inc()
			}
		})
	}
	wg.Go(func() {
		for range 100 {
			cells(r)
			r.EachCounter(func(Event, string, uint64) {})
		}
	})
	wg.Wait()
	var requests, observed uint64
	var sum time.Duration
	r.Each(func(_ uint32, _ Labels, c *Cell) {
		var counts [Buckets]uint64
		requests += c.Requests.Load()
		observed += c.Latency(&counts)
		sum += c.LatencySum()
	})
	if requests != workers*each || observed != requests ||
		sum != workers*each*(each-1)/2*time.Microsecond {
		t.Fatalf("requests %d observed %d sum %v", requests, observed, sum)
	}
}

func TestRecordingAllocatesNothing(t *testing.T) {
	c := NewRegistry().Cell(labels(1))
	c.ObserveLatency(0)
	if n := testing.AllocsPerRun(100, func() {
		c.Requests.Add(1)
		c.ObserveLatency(3 * time.Millisecond)
	}); n != 0 {
		t.Fatalf("%v allocations for one request", n)
	}
}

func BenchmarkObserveLatency(b *testing.B) {
	b.ReportAllocs()
	var c Cell
	for i := 0; b.Loop(); i++ {
		c.ObserveLatency(time.Duration(i&0xfffff) * time.Nanosecond)
	}
}
