package h2

import "sync"

// What a stream keeps because its window or the output is full lies in one of four sizes of pooled memory: streams of a
// connection that is throttled fill and empty it all the time, and one that keeps little should not hold much.
var pendings = [...]sync.Pool{
	{New: func() any { return new([1 << 9]byte) }},
	{New: func() any { return new([4 << 10]byte) }},
	{New: func() any { return new([16 << 10]byte) }},
	{New: func() any { return new([defaultStreamWindow]byte) }},
}

func newPending(n int) []byte {
	switch {
	case n <= 1<<9:
		return pendings[0].Get().(*[1 << 9]byte)[:0]
	case n <= 4<<10:
		return pendings[1].Get().(*[4 << 10]byte)[:0]
	case n <= 16<<10:
		return pendings[2].Get().(*[16 << 10]byte)[:0]
	case n <= defaultStreamWindow:
		return pendings[3].Get().(*[defaultStreamWindow]byte)[:0]
	}
	return make([]byte, 0, 2*n)
}

func freePending(b []byte) {
	switch cap(b) {
	case 1 << 9:
		pendings[0].Put((*[1 << 9]byte)(b[:cap(b)]))
	case 4 << 10:
		pendings[1].Put((*[4 << 10]byte)(b[:cap(b)]))
	case 16 << 10:
		pendings[2].Put((*[16 << 10]byte)(b[:cap(b)]))
	case defaultStreamWindow:
		pendings[3].Put((*[defaultStreamWindow]byte)(b[:cap(b)]))
	}
}

func (s *Stream) unsent() int { return len(s.pending) - s.sent }

// keep adds p to what is unsent; the lock is held.
func (s *Stream) keep(p []byte) {
	if len(p) == 0 {
		return
	}
	if need := s.unsent() + len(p); need > cap(s.pending) {
		b := append(newPending(need), s.pending[s.sent:]...)
		freePending(s.pending)
		s.pending, s.sent = b, 0
	} else if len(s.pending)+len(p) > cap(s.pending) {
		s.pending = s.pending[:copy(s.pending, s.pending[s.sent:])]
		s.sent = 0
	}
	s.pending = append(s.pending, p...)
}

// left notes that n of the unsent bytes are in the output; the lock is held. A stream that ended with them keeps nothing any
// more.
func (s *Stream) left(n int) {
	if s.sent += n; s.unsent() <= 0 {
		s.forget()
	}
}

// forget drops what is unsent; the lock is held.
func (s *Stream) forget() {
	freePending(s.pending)
	s.pending, s.sent = nil, 0
}
