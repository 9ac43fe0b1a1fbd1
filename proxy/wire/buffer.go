package wire

import (
	"errors"
	"sync"
)

const (
	// bufferSize holds, in bytes, what one read brings and what was left of the read before; or, as
	// output, what a batch makes of both, with frame headers and TLS records. A smaller output
	// would make a batch's end leave in packets of its own.
	bufferSize = 160 << 10
	// readSize is eight full HTTP/2 frames or TLS records; with half of it bulk is a tenth slower.
	readSize = 128 << 10
	// maxInput is what one unfinished message may hold, bytes; beyond it Fill refuses.
	maxInput = 384 << 10
	// compactAt: with less room than this behind the unread bytes they move to the front.
	compactAt = 8 << 10

	// What waits for a slow peer grows from leastOutput to smallOutput to bufferSize. Where memory
	// is short mediumBuffer is between the two last: fast output would only be copied once more.
	mediumBuffer = 64 << 10
	smallOutput  = 16 << 10
	leastOutput  = 4 << 10
)

// ErrInputFull is what Fill says when the reader leaves too much unread.
var ErrInputFull = errors.New("wire: unread input exceeds its limit")

// The pools hold arrays, not slices, so that Put does not allocate a slice header.
var (
	buffers       = sync.Pool{New: func() any { return new([bufferSize]byte) }}
	mediumBuffers = sync.Pool{New: func() any { return new([mediumBuffer]byte) }}
	smallOutputs  = sync.Pool{New: func() any { return new([smallOutput]byte) }}
	leastOutputs  = sync.Pool{New: func() any { return new([leastOutput]byte) }}
)

// input is a read buffer that exists only while it holds something.
type input struct {
	buf  []byte
	r, w int
}

func (in *input) unread() []byte { return in.buf[in.r:in.w] }

// space is where the next read goes, or nil when the unread bytes have reached the limit.
func (in *input) space() []byte {
	if in.buf == nil {
		in.buf = buffers.Get().(*[bufferSize]byte)[:]
		in.r, in.w = 0, 0
	}
	if len(in.buf) < bufferSize {
		in.move(buffers.Get().(*[bufferSize]byte)[:])
	}
	if len(in.buf)-in.w < compactAt && in.r > 0 {
		in.w = copy(in.buf, in.unread())
		in.r = 0
	}
	if in.w == len(in.buf) && !in.grow() {
		return nil
	}
	return in.buf[in.w:]
}

func (in *input) grow() bool {
	if len(in.buf) >= maxInput {
		return false
	}
	in.move(make([]byte, min(2*len(in.buf), maxInput)))
	return true
}

// shrink keeps what is unread, if that is little, in a smaller buffer until more comes. The
// beginning of a message may be all that its sender has to say for a while, and a thousand senders
// who do no more than begin must not take a thousand large buffers.
func (in *input) shrink() {
	n := in.w - in.r
	if n == 0 || n > smallOutput || len(in.buf) != bufferSize {
		return
	}
	small := newOutput(n)
	in.move(small[:cap(small)])
}

// fit keeps what is unread in no more than it needs.
func (in *input) fit() {
	n := in.w - in.r
	if n > mediumBuffer || len(in.buf) <= leastOutput {
		return
	}
	b := fitting(n)
	if cap(b) >= len(in.buf) {
		freeOutput(b)
		return
	}
	in.move(b[:cap(b)])
}

// move puts what is unread into another buffer.
func (in *input) move(to []byte) {
	n := copy(to, in.unread())
	in.free()
	in.buf, in.r, in.w = to, 0, n
}

func (in *input) discard(n int) {
	in.r += n
	if in.r == in.w {
		in.r, in.w = 0, 0
	}
}

// release gives the buffer back if nothing in it is unread.
func (in *input) release() {
	if in.r == in.w {
		in.free()
		in.buf, in.r, in.w = nil, 0, 0
	}
}

func (in *input) free() { freeOutput(in.buf) }

func (in *input) preload(p []byte) {
	if len(p) > bufferSize {
		in.buf = append([]byte(nil), p...)
		in.w = len(p)
		return
	}
	b := newOutput(len(p))
	in.buf = b[:cap(b)]
	in.w = copy(in.buf, p)
}

// newOutput has room for n bytes.
func newOutput(n int) []byte {
	switch {
	case n <= leastOutput:
		return leastOutputs.Get().(*[leastOutput]byte)[:0]
	case n <= smallOutput:
		return smallOutputs.Get().(*[smallOutput]byte)[:0]
	case n <= bufferSize:
		return buffers.Get().(*[bufferSize]byte)[:0]
	}
	return make([]byte, 0, 2*n)
}

// fitting is newOutput where memory is short.
func fitting(n int) []byte {
	if n > smallOutput && n <= mediumBuffer {
		return mediumBuffers.Get().(*[mediumBuffer]byte)[:0]
	}
	return newOutput(n)
}

func freeOutput(b []byte) {
	switch cap(b) {
	case mediumBuffer:
		mediumBuffers.Put((*[mediumBuffer]byte)(b[:mediumBuffer]))
	case leastOutput:
		leastOutputs.Put((*[leastOutput]byte)(b[:leastOutput]))
	case smallOutput:
		smallOutputs.Put((*[smallOutput]byte)(b[:smallOutput]))
	case bufferSize:
		buffers.Put((*[bufferSize]byte)(b[:bufferSize]))
	}
}
