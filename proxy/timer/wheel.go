// Package timer is the proxy's deadlines: one wheel for all of them, in which arming or disarming a
// deadline costs two pointer writes.
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

// turnSlots is how many ticks one turn has: 5.12 s. A timer that is due later waits for whole
// turns.
const turnSlots = 1024

// Wheel is a set of timers. A request arms and disarms several deadlines, of which nearly none
// fires. In a wheel each costs two pointer writes, and the runtime's heap of timers stays small.
// The wheel's goroutine lives only while something is armed. It sleeps until the first deadline is
// due, or for a turn, so an idle proxy hardly wakes.
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
	fired      bool  // it has fired at least once: the owner may be told at any moment
	owner      Owner
}

// Owner owns timers. Expired is told which of them has fired.
type Owner interface{ Expired(*Timer) }

// New makes a wheel in which nothing is armed.
func New() *Wheel {
	w := &Wheel{start: time.Now()}
	for i := range w.slots {
		s := &w.slots[i]
		s.next, s.prev = s, s
	}
	return w
}

// Arm makes t tell owner once, after d. The owner is told on the wheel's goroutine, where it must
// not block. If t is armed already it is moved.
func (w *Wheel) Arm(t *Timer, d time.Duration, owner Owner) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.unlinkLocked(t)
	if !w.running {
		w.now = w.tick(0)
	}
	if t.owner == nil {
		t.owner = owner // it is set only once, for Disarm looks at it without the lock
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
		w.sleepUntilLocked(t.due)
	}
}

// tick is the number of the tick in which the time d from now falls.
func (w *Wheel) tick(d time.Duration) int64 { return int64((time.Since(w.start) + d) / Tick) }

// sleepUntilLocked makes the goroutine look at the timers at a tick.
func (w *Wheel) sleepUntilLocked(tick int64) {
	w.wake = tick
	w.alarm.Reset(time.Until(w.start.Add(time.Duration(tick) * Tick)))
}

// Disarm stops t. It reports whether t has ever fired. If so its owner may be being told just now,
// and must look at its own state.
func (w *Wheel) Disarm(t *Timer) (fired bool) {
	if t.owner == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unlinkLocked(t)
	return t.fired
}

// Armed is how many deadlines are to come.
func (w *Wheel) Armed() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.armed
}

func (w *Wheel) unlinkLocked(t *Timer) {
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
		due = w.advanceLocked(due[:0])
		if w.armed == 0 || w.closed {
			w.running = false
		} else {
			w.sleepUntilLocked(w.firstLocked())
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

// firstLocked is the tick at which the next timer is due, or a turn from now.
func (w *Wheel) firstLocked() int64 {
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

// advanceLocked takes off the wheel what is due up to the present tick.
func (w *Wheel) advanceLocked(due []*Timer) []*Timer {
	target := w.tick(0)
	for ; w.now <= target; w.now++ {
		head := &w.slots[w.now%turnSlots]
		for t := head.next; t != head; {
			next := t.next
			if t.due <= w.now {
				w.unlinkLocked(t)
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
		w.sleepUntilLocked(w.now)
	}
	w.mu.Unlock()
	w.done.Wait()
}
