// Package timer is the proxy's deadlines: one wheel for all of them, in which to arm and to disarm
// one costs two pointer writes.
//
// It refuses to be exact: a deadline is met up to Tick late. A Wheel owns one goroutine, which
// lives while something is armed and ends with Close.
package timer

import (
	"sync"
	"time"
)

// Tick is the resolution of every deadline: a timeout fires at most this much late.
const Tick = 5 * time.Millisecond

// turnSlots times Tick is one turn, 5.12 s; longer timers wait whole turns.
const turnSlots = 1024

// Wheel is the proxy's one set of timers. A request arms and disarms several deadlines, nearly none
// of which ever fire: in a wheel each costs two pointer writes, and the runtime's timer heap is
// left alone. Its goroutine lives only while something is armed, and sleeps until the first of them
// is due, or for a turn: an idle proxy hardly wakes.
type Wheel struct {
	mu      sync.Mutex // guards everything below, and every timer's links
	slots   [turnSlots]Timer
	now     int64 // ticks done
	wake    int64 // the tick for which alarm is set, while running
	alarm   *time.Timer
	armed   int
	running bool
	start   time.Time
	closed  bool
	done    sync.WaitGroup
}

// Timer is one deadline, embedded in what it belongs to. The zero value is disarmed.
type Timer struct {
	next, prev *Timer
	due        int64 // tick
	fired      bool  // once, if ever: the owner may be told at any moment
	owner      Owner
}

// Owner owns timers; Expired is told which of them fired.
type Owner interface{ Expired(*Timer) }

func New() *Wheel {
	w := &Wheel{start: time.Now()}
	for i := range w.slots {
		s := &w.slots[i]
		s.next, s.prev = s, s
	}
	return w
}

// Arm makes t tell owner once, after d, on the wheel's goroutine, where it must not block. An armed
// timer is moved.
func (w *Wheel) Arm(t *Timer, d time.Duration, owner Owner) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.unlink(t)
	if !w.running {
		w.now = w.tick(0)
	}
	if t.owner == nil {
		t.owner = owner // once: Disarm looks at it without the lock
	}
	t.due = w.tick(max(d, 0)) + 1 // a slot of the past would come a whole turn late
	head := &w.slots[t.due%turnSlots]
	t.next, t.prev = head, head.prev
	head.prev.next, head.prev = t, t
	w.armed++
	if !w.running {
		w.running, w.wake, w.alarm = true, w.now+turnSlots, time.NewTimer(turnSlots*Tick)
		w.done.Add(1)
		go w.turn(w.alarm)
	}
	if t.due < w.wake {
		w.sleepUntil(t.due)
	}
}

// tick is the one in which the time d from now falls.
func (w *Wheel) tick(d time.Duration) int64 { return int64((time.Since(w.start) + d) / Tick) }

// sleepUntil makes the goroutine look at the timers at a tick; the lock is held.
func (w *Wheel) sleepUntil(tick int64) {
	w.wake = tick
	w.alarm.Reset(time.Until(w.start.Add(time.Duration(tick) * Tick)))
}

// Disarm stops t. An expiry that has already begun may still be running, if any has: the owner
// checks its own state.
func (w *Wheel) Disarm(t *Timer) (fired bool) {
	if t.owner == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unlink(t)
	return t.fired
}

// Armed is how many deadlines are to come.
func (w *Wheel) Armed() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.armed
}

func (w *Wheel) unlink(t *Timer) {
	if t.next == nil {
		return
	}
	t.prev.next, t.next.prev = t.next, t.prev
	t.next, t.prev = nil, nil
	w.armed--
}

// turn advances until nothing is armed.
func (w *Wheel) turn(alarm *time.Timer) {
	defer w.done.Done()
	defer alarm.Stop()
	var due []*Timer
	for range alarm.C {
		w.mu.Lock()
		due = w.advance(due[:0])
		if w.armed == 0 || w.closed {
			w.running = false
		} else {
			w.sleepUntil(w.first())
		}
		running := w.running
		w.mu.Unlock()
		for _, t := range due {
			t.owner.Expired(t)
		}
		clear(due)
		if !running {
			return
		}
	}
}

// first is the tick at which the next timer is due, or a turn from now; the lock is held.
func (w *Wheel) first() int64 {
	for tick := w.now; tick < w.now+turnSlots; tick++ {
		head := &w.slots[tick%turnSlots]
		for t := head.next; t != head; t = t.next {
			if t.due <= tick {
				return tick
			}
		}
	}
	return w.now + turnSlots
}

// advance collects what is due up to the present tick.
func (w *Wheel) advance(due []*Timer) []*Timer {
	target := w.tick(0)
	for ; w.now <= target; w.now++ {
		head := &w.slots[w.now%turnSlots]
		for t := head.next; t != head; {
			next := t.next
			if t.due <= w.now {
				w.unlink(t)
				t.fired = true
				due = append(due, t)
			}
			t = next
		}
	}
	return due
}

// Close disarms everything and waits for the goroutine.
func (w *Wheel) Close() {
	w.mu.Lock()
	w.closed = true
	if w.running {
		w.sleepUntil(w.now)
	}
	w.mu.Unlock()
	w.done.Wait()
}
