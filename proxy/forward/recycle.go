package forward

import (
	"sync"

	"github.com/tulle-mesh/tulle/proxy/h1"
	"github.com/tulle-mesh/tulle/proxy/h2"
)

// An exchange and the memory of its streams are one object, of 1 KB: nearly all the garbage that
// there would be. Most are used again, for whoever asks next, so one must not be given back while
// anybody may still know it.
//
// Who knows an exchange, when all goes well, is two connections. The backend's tells it of the end
// of the response, in a turn of its reader, and forgets it. The caller's forgets it too then, if
// the request has ended; its reader may be in the middle of telling it something only while it has
// a turn. So an exchange that ends outside of that is known to nobody but who ended it: the
// backend's reader, which gives it back after its turn. Whatever else may have known it makes it
// shared for good, and then it is the collector's: a queue, a timer that fired, a connection that
// keeps some of its body, a reset.

// recycler is an exchange with the memory of its stream.
type recycler interface{ recycle() }

// http1Exchange is an exchange for a caller that speaks HTTP/1.
type http1Exchange struct {
	exchange
	stream h1.Stream
}

// http2Exchange is an exchange for a caller that speaks HTTP/2.
type http2Exchange struct {
	exchange
	stream h2.Stream
}

// What is in them is zeroed.
var (
	http1Exchanges = sync.Pool{New: func() any { return new(http1Exchange) }}
	http2Exchanges = sync.Pool{New: func() any { return new(http2Exchange) }}
)

func newHTTP1Exchange(c *ServerConn) *http1Exchange {
	e := http1Exchanges.Get().(*http1Exchange)
	e.c, e.down, e.memory = c, &e.stream, e
	return e
}

func newHTTP2Exchange(c *ServerConn) *http2Exchange {
	e := http2Exchanges.Get().(*http2Exchange)
	e.c, e.down, e.memory = c, &e.stream, e
	return e
}

func (e *http1Exchange) recycle() {
	*e = http1Exchange{}
	http1Exchanges.Put(e)
}

func (e *http2Exchange) recycle() {
	*e = http2Exchange{}
	http2Exchanges.Put(e)
}

// forgotten: but for the reader that has told a's end, nobody knows the exchange any more, which
// has ended.
func (x *exchange) forgotten(a *attempt) bool {
	return !x.shared && x.memory != nil && x.down.Over() && a.up.Over() && x.c.engine.Resting()
}

// spend has an exchange recycled after the turn.
func (b *batch) spend(x *exchange) { x.next, b.spent = b.spent, x }

// recycle is for after the turn.
func (b *batch) recycle() {
	for x := b.spent; x != nil; {
		next := x.next
		x.memory.recycle()
		x = next
	}
	b.spent = nil
}
