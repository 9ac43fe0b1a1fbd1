package h2

import (
	"sync/atomic"

	"golang.org/x/net/http2/hpack"
)

// echo answers with what it gets.
type echo struct{ s *Stream }

func (k *echo) OnHeaders(_ []hpack.HeaderField, end bool) {
	k.s.WriteHeaders([]hpack.HeaderField{{Name: ":status", Value: "200"}}, end)
}
func (k *echo) OnData(p []byte, end bool) { k.s.Consumed(k.s.WriteData(p, end)) }
func (k *echo) OnReset(uint32, error)     {}
func (k *echo) OnSent(n int)              { k.s.Consumed(n) }

// collect counts a response's bytes.
type collect struct {
	s    atomic.Pointer[Stream]
	n    int
	err  error
	done chan struct{}
}

func (k *collect) OnHeaders(_ []hpack.HeaderField, end bool) {
	if end {
		close(k.done)
	}
}

func (k *collect) OnData(p []byte, end bool) {
	k.n += len(p)
	k.s.Load().Consumed(len(p))
	if end {
		close(k.done)
	}
}

func (k *collect) OnReset(_ uint32, err error) { k.err = err; close(k.done) }
func (k *collect) OnSent(int)                  {}
