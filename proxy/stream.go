package proxy

import (
	"golang.org/x/net/http2/hpack"
)

// stream is one exchange's half on a connection, of either protocol and either role: *h1.Stream and *h2.Stream. Its
// methods never block, may be called from any goroutine, and do nothing once the stream is dead.
type stream interface {
	WriteHeaders(fields []hpack.HeaderField, end bool)
	WriteData(p []byte, end bool) (accepted int)
	Reset(code uint32)
	Consumed(n int)
	flusher
}

// flusher is a connection with output that nobody has sent yet.
type flusher interface {
	Flush()
	FlushSoon()
}

// batch collects the connections that one reader has written to, until its read buffer runs dry: then each is flushed
// once, however many messages it was given. It belongs to one goroutine.
type batch struct {
	touched []flusher
	// soon is for a reader of HTTP/1: many of them feed one HTTP/2 connection, which gains a quarter in throughput when
	// its writer yields once before it flushes.
	soon bool
}

func (b *batch) touch(f flusher) {
	if n := len(b.touched); n > 0 && b.touched[n-1] == f {
		return
	}
	b.touched = append(b.touched, f)
}

func (b *batch) flush() {
	for i, f := range b.touched {
		if b.soon {
			f.FlushSoon()
		} else {
			f.Flush()
		}
		b.touched[i] = nil
	}
	b.touched = b.touched[:0]
}
