package forward

import (
	"slices"
	"sync"
	"time"
)

const (
	// reliefEvery is the least time between two looks for slow callers.
	reliefEvery = 100 * time.Millisecond
	// slowAfter is for how long something has to wait for a caller that counts as slow.
	slowAfter = time.Second
	// slowRate is what such a caller takes less than, in bytes a second. Who takes more is not why
	// memory is short.
	slowRate = 32 << 10
	// reliefPart of them are cut at a time, the slowest ones.
	reliefPart = 8
	// reliefEach is how many requests are admitted for each that was cut.
	reliefEach = 2
)

// relief is how requests are admitted while memory is short: for each of them slow callers were cut
// before, who hold much and take little. Callers that have long had something waiting for them go
// first: they are what fills a proxy, and newcomers are not.
type relief struct {
	mu   sync.Mutex // guards everything below
	next time.Time  // when to look again
	left int        // requests that may be admitted
}

// slowCaller is one that takes what waits for it slowly.
type slowCaller struct {
	conn *ServerConn
	rate int // bytes a second
}

// relieve admits one request, if enough was given back for it.
func (f *Forwarder) relieve(now time.Time) bool {
	r := &f.relief
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left == 0 && !now.Before(r.next) {
		r.next = now.Add(reliefEvery)
		r.left = reliefEach * f.cutSlowest(now)
	}
	if r.left == 0 {
		return false
	}
	r.left--
	return true
}

// cutSlowest ends the connections of the slowest callers, and says how many.
func (f *Forwarder) cutSlowest(now time.Time) int {
	slow := f.slowCallers(now)
	slices.SortFunc(slow, func(a, b slowCaller) int { return a.rate - b.rate })
	n := (len(slow) + reliefPart - 1) / reliefPart
	for _, s := range slow[:n] {
		s.conn.shed.Store(true)
		s.conn.wire.CutAtClose() // what the kernel holds for it goes too
		s.conn.wire.Close()
		f.shedWork.Inc()
	}
	return n
}

func (f *Forwarder) slowCallers(now time.Time) (slow []slowCaller) {
	f.Servers.Each(func(c *ServerConn) {
		held, since, taken := c.wire.Slowness()
		waits := now.Sub(since)
		if held == 0 || waits < slowAfter {
			return
		}
		if rate := taken / int(waits/time.Second); rate < slowRate {
			slow = append(slow, slowCaller{c, rate})
		}
	})
	return slow
}
