package forward

import (
	"sync"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// flushQueue brings the output of many readers together. Those that share a goroutine add to it,
// and when all have had their turns the first one's promise is kept: it flushes for everybody who
// has added. Many connections feed one, whose packets become fewer and fuller that way, and the
// readers go straight on to the next input.
//
// It has no goroutine. With several loops each reader that finds it empty leads, so there are as
// many flushing as come.
type flushQueue struct {
	mu     sync.Mutex // guards everything below
	queued []flusher  // each one once
	spare  []flusher  // empty, for its memory
}

// maxSpare connections are room for most loops' worth of readers; what a burst needed beyond is
// given back.
const maxSpare = 1024

// flush sends what has been written to fs, now or once the other readers have had their turns. What
// somebody else is about to flush is left to them.
func (q *flushQueue) flush(reader *wire.Conn, fs []flusher) {
	if !q.add(fs) {
		return
	}
	if !reader.AfterTurns(q) {
		q.Flush()
	}
}

// add says whether its caller has to see to the flush: nobody else is going to.
func (q *flushQueue) add(fs []flusher) (lead bool) {
	if len(fs) == 0 {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	before := len(q.queued)
	for _, f := range fs {
		if f.ClaimFlush() {
			q.queued = append(q.queued, f)
		}
	}
	return before == 0 && len(q.queued) > 0
}

// Flush sends in the order in which connections were added: the peer that has waited longest comes
// first.
func (q *flushQueue) Flush() {
	q.mu.Lock()
	l := q.queued
	q.queued, q.spare = q.spare, nil
	q.mu.Unlock()
	for _, f := range l {
		f.Flush()
	}
	clear(l)
	if cap(l) > maxSpare {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.spare == nil {
		q.spare = l[:0]
	}
}
