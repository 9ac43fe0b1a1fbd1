package forward

import (
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// stream is one exchange's half on a connection, of either protocol and either role: *h1.Stream and
// *h2.Stream. Its methods never block, may be called from any goroutine, and do nothing once the
// stream is dead.
type stream interface {
	// Of a head; another may be written then.
	WriteHeaders(fields []hpack.HeaderField, end bool) error
	WriteData(p []byte, end bool) (accepted int)
	Reset(code uint32)
	Consumed(n int)
	Over() bool // the connection has forgotten it
	Wire() *wire.Conn
}

// flusher is a connection with output that nobody has sent yet.
type flusher interface {
	Flush()
	ClaimFlush() bool
}

// batch collects the connections that one reader has written to, until its read buffer runs dry:
// then each is flushed once, however many messages it was given. It belongs to one goroutine.
type batch struct {
	touched []flusher
	spent   *exchange           // ended here, and nobody else knows them
	reader  *wire.Conn          // whose batch it is; nil: nobody's
	queue   *flushQueue         // nil: the connections are flushed at once
	at      time.Time           // the time, read once a batch; zero: not read yet
	head    []hpack.HeaderField // of the request that is sent, until the flush
}

// time is the time at which the batch began, or as good as: all that happens in a batch happens at
// once. A clock read for each stage of each request would cost more than the balancer.
func (b *batch) time() time.Time {
	if b.at.IsZero() {
		b.at = time.Now()
	}
	return b.at
}

// touch notes that something was written to s.
func (b *batch) touch(s stream) { b.add(s.Wire()) }

// add is called for each piece of data, and a batch may have thousands: of one exchange, whose two
// sides take turns, or of all that a caller may have.
func (b *batch) add(f flusher) {
	n := len(b.touched)
	if n > 0 && b.touched[n-1] == f || n > 1 && b.touched[n-2] == f {
		return
	}
	if n >= manyTouched && n == cap(b.touched) {
		b.touchOnce()
	}
	b.touched = append(b.touched, f)
}

// manyTouched may have been touched before any is looked for twice: a map costs more than a short
// list.
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
	if b.queue != nil {
		b.queue.flush(b.reader, b.touched)
	} else {
		for _, f := range b.touched {
			f.Flush()
		}
	}
	b.recycle()
	poolHead(b.head)
	clear(b.touched)
	b.head, b.touched, b.at = nil, b.touched[:0], time.Time{}
}
