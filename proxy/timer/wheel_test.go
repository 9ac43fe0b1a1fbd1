package timer

import (
	"testing"
	"testing/synctest"
	"time"
)

// expiries collects what a wheel tells.
type expiries chan *Timer

func (e expiries) Expired(t *Timer) { e <- t }

func TestWheelFiresOnceAndNotBeforeItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New()
		defer w.Close()
		e := make(expiries, 10)
		var short, long, gone Timer
		began := time.Now()
		w.Arm(&gone, 20*time.Millisecond, e)
		w.Arm(&long, 12*time.Second, e) // more than two turns
		w.Arm(&short, 50*time.Millisecond, e)
		w.Disarm(&gone)
		for _, tt := range []struct {
			timer *Timer
			after time.Duration
		}{{&short, 50 * time.Millisecond}, {&long, 12 * time.Second}} {
			if got := <-e; got != tt.timer {
				t.Fatalf("the wrong timer fired after %v", time.Since(began))
			}
			if d := time.Since(began); d < tt.after || d > tt.after+2*Tick {
				t.Errorf("fired after %v, want %v", d, tt.after)
			}
		}
		time.Sleep(time.Minute) // its goroutine has ended; it starts again
		began = time.Now()
		w.Arm(&short, time.Second, e)
		<-e
		if d := time.Since(began); d < time.Second || d > time.Second+2*Tick {
			t.Errorf("after a rest, fired after %v", d)
		}
	})
}

// A connection's life is a timer of hours: with nothing else armed, the proxy wakes once a turn.
// What is due sooner is not late for that.
func TestWheelSleepsUntilSomethingIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := New()
		defer w.Close()
		e := make(expiries, 10)
		var life, short Timer
		w.Arm(&life, time.Hour, e)
		for range 3 {
			time.Sleep(time.Minute)
			synctest.Wait()
			w.mu.Lock()
			if sleep := w.wake - w.now; sleep < turnSlots {
				t.Errorf("it sleeps for %d ticks, want a turn", sleep)
			}
			w.mu.Unlock()
			began := time.Now()
			w.Arm(&short, time.Second, e)
			if got := <-e; got != &short || time.Since(began) > time.Second+2*Tick {
				t.Errorf("after %v something fired, the second's timer: %v",
					time.Since(began), got == &short)
			}
		}
	})
}
