package proxy

import (
	"runtime"
	"time"

	"golang.org/x/net/http2/hpack"
)

// stream is one exchange's half on a connection, of either protocol and either role: *h1.Stream and *h2.Stream. Its
// methods never block, may be called from any goroutine, and do nothing once the stream is dead.
type stream interface {
	WriteHeaders(fields []hpack.HeaderField, end bool) error // of a head; another may be written then
	WriteData(p []byte, end bool) (accepted int)
	Reset(code uint32)
	Consumed(n int)
	flusher
}

// flusher is a connection with output that nobody has sent yet.
type flusher interface {
	Flush()
	ClaimFlush() bool
}

// batch collects the connections that one reader has written to, until its read buffer runs dry: then each is flushed
// once, however many messages it was given. It belongs to one goroutine.
type batch struct {
	touched []flusher
	// patient is for a reader of a caller's connection: many of them feed one connection to an endpoint, which gains a
	// quarter in throughput when the first of them lets the others run before it flushes.
	patient bool
	at      time.Time // the time, read once a batch; zero: not read yet
}

// time is the time at which the batch began, or as good as: all that happens in a batch happens at once. A clock read for
// each stage of each request would cost more than the balancer.
func (b *batch) time() time.Time {
	if b.at.IsZero() {
		b.at = time.Now()
	}
	return b.at
}

// touch is called for each piece of data, and a batch may have thousands: of one exchange, whose two sides take turns, or of all
// that a caller may have.
func (b *batch) touch(f flusher) {
	n := len(b.touched)
	if n > 0 && b.touched[n-1] == f || n > 1 && b.touched[n-2] == f {
		return
	}
	if n >= manyTouched && n == cap(b.touched) {
		b.touchOnce()
	}
	b.touched = append(b.touched, f)
}

// manyTouched may have been touched before any is looked for twice: a map costs more than a short list.
const manyTouched = 256

// touchOnce leaves one of each.
func (b *batch) touchOnce() {
	seen := make(map[flusher]struct{}, len(b.touched))
	once := b.touched[:0]
	for _, f := range b.touched {
		if _, again := seen[f]; !again {
			seen[f] = struct{}{}
			once = append(once, f)
		}
	}
	clear(b.touched[len(once):])
	b.touched = once
}

func (b *batch) flush() {
	if b.patient {
		b.wait()
	}
	for i, f := range b.touched {
		f.Flush()
		b.touched[i] = nil
	}
	b.touched, b.at = b.touched[:0], time.Time{}
}

// wait lets every goroutine that can run do so before the flush. What another batch is going to flush is left to that one.
func (b *batch) wait() {
	mine := b.touched[:0]
	for _, f := range b.touched {
		if f.ClaimFlush() {
			mine = append(mine, f)
		}
	}
	clear(b.touched[len(mine):])
	if b.touched = mine; len(mine) > 0 {
		runtime.Gosched()
	}
}
