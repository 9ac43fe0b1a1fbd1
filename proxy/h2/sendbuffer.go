package h2

import "sync"

// sendBuffers hold the data that a stream keeps because its window or the output is full. They are
// pooled, since streams of a throttled connection fill and empty them all the time, and have four
// sizes, so that a stream which keeps little does not hold much.
var sendBuffers = [...]sync.Pool{
	{New: func() any { return new([1 << 9]byte) }},
	{New: func() any { return new([4 << 10]byte) }},
	{New: func() any { return new([16 << 10]byte) }},
	{New: func() any { return new([defaultStreamWindow]byte) }},
}

func newSendBuffer(n int) []byte {
	switch {
	case n <= 1<<9:
		return sendBuffers[0].Get().(*[1 << 9]byte)[:0]
	case n <= 4<<10:
		return sendBuffers[1].Get().(*[4 << 10]byte)[:0]
	case n <= 16<<10:
		return sendBuffers[2].Get().(*[16 << 10]byte)[:0]
	case n <= defaultStreamWindow:
		return sendBuffers[3].Get().(*[defaultStreamWindow]byte)[:0]
	}
	return make([]byte, 0, 2*n)
}

func freeSendBuffer(b []byte) {
	switch cap(b) {
	case 1 << 9:
		sendBuffers[0].Put((*[1 << 9]byte)(b[:cap(b)]))
	case 4 << 10:
		sendBuffers[1].Put((*[4 << 10]byte)(b[:cap(b)]))
	case 16 << 10:
		sendBuffers[2].Put((*[16 << 10]byte)(b[:cap(b)]))
	case defaultStreamWindow:
		sendBuffers[3].Put((*[defaultStreamWindow]byte)(b[:cap(b)]))
	}
}

func (s *Stream) unsentLocked() int { return len(s.pending) - s.sent }

// keepLocked adds p to what is unsent.
func (s *Stream) keepLocked(p []byte) {
	if len(p) == 0 {
		return
	}
	if need := s.unsentLocked() + len(p); need > cap(s.pending) {
		b := append(newSendBuffer(need), s.pending[s.sent:]...)
		s.c.w.HoldLocked(cap(b) - cap(s.pending))
		freeSendBuffer(s.pending)
		s.pending, s.sent = b, 0
	} else if len(s.pending)+len(p) > cap(s.pending) {
		s.pending = s.pending[:copy(s.pending, s.pending[s.sent:])]
		s.sent = 0
	}
	s.pending = append(s.pending, p...)
}

// leftLocked notes that n of the unsent bytes are in the output, and frees an empty buffer.
func (s *Stream) leftLocked(n int) {
	if s.sent += n; s.unsentLocked() <= 0 {
		s.dropPendingLocked()
	}
}

// dropPendingLocked drops what is unsent.
func (s *Stream) dropPendingLocked() {
	s.c.w.HoldLocked(-cap(s.pending))
	freeSendBuffer(s.pending)
	s.pending, s.sent = nil, 0
}
