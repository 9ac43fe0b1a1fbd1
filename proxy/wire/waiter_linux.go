package wire

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// waiter is the one goroutine that waits for one direction of a socket, and its deadline.
type waiter struct {
	asleep atomic.Bool
	sema   chan struct{} // made by the sleeper before it sets asleep

	mu    sync.Mutex // guards everything below
	until time.Time
	timer *time.Timer
}

// await returns when one of the flags is set.
func (w *waiter) await(state *atomic.Uint32, flags uint32) {
	if w.sema == nil {
		w.sema = make(chan struct{}, 1)
	}
	for state.Load()&flags == 0 {
		w.asleep.Store(true)
		if state.Load()&flags != 0 && w.asleep.CompareAndSwap(true, false) {
			return
		}
		<-w.sema
	}
}

func (w *waiter) wake() {
	if w.asleep.Load() && w.asleep.CompareAndSwap(true, false) {
		w.sema <- struct{}{}
	}
}

func (w *waiter) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (s *socket) setDeadline(w *waiter, t time.Time, late uint32) error {
	if s.refs.Load() < 0 {
		return net.ErrClosed
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.until = t
	left := time.Until(t)
	switch {
	case t.IsZero() && w.timer != nil:
		w.timer.Stop()
	case t.IsZero():
	case left <= 0:
		s.notify(late)
		return nil
	case w.timer == nil:
		w.timer = time.AfterFunc(left, func() { s.expire(w, late) })
	default:
		w.timer.Reset(left)
	}
	s.state.And(^late)
	return nil
}

// expire runs when the timer fires, which a later deadline may not have prevented.
func (s *socket) expire(w *waiter, late uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.until.IsZero() && !time.Now().Before(w.until) {
		s.notify(late)
	}
}
