package viz

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// deliveries is what halves give away.
type deliveries struct {
	mu      sync.Mutex // guards what follows
	records []*TapRecord
	taps    [][]uint32
}

// all are the records so far.
func (d *deliveries) all() []*TapRecord {
	synctest.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.records)
}

func joining(t *testing.T, f func(a *halves, got *deliveries)) {
	synctest.Test(t, func(t *testing.T) {
		got := &deliveries{}
		a := &halves{deliver: func(r *TapRecord, taps []uint32) {
			got.mu.Lock()
			defer got.mu.Unlock()
			got.records, got.taps = append(got.records, r), append(got.taps, taps)
		}}
		f(a, got)
		a.stop()
	})
}

func outHalf(pod string, taps ...uint32) *half {
	return &half{&TapRecord{Direction: "outbound", Security: "mtls", ClientPod: "web-1",
		ServerPod: pod, ClientID: "w", ServerID: "c"}, taps}
}

func inHalf(pod string, taps ...uint32) *half {
	return &half{&TapRecord{Direction: "inbound", Security: "mtls", ServerPod: pod,
		ClientID: "w", ServerID: "c"}, taps}
}

func TestHalvesMeetInEitherOrder(t *testing.T) {
	for name, order := range map[string][]*half{
		"the caller's first":      {outHalf("a", 1), inHalf("a", 2)},
		"the callee's first":      {inHalf("a", 2), outHalf("a", 1)},
		"the last of two tries":   {inHalf("b"), inHalf("a", 2), outHalf("a", 1)},
		"a try that was given up": {inHalf("a", 2), outHalf("a", 1), inHalf("b")},
	} {
		joining(t, func(a *halves, got *deliveries) {
			for _, one := range order {
				a.take(time.Now(), 7, one)
			}
			if len(got.records) != 1 || got.records[0].Inbound == nil ||
				got.records[0].Inbound.ServerPod != "a" || len(got.taps[0]) != 2 {
				t.Errorf("%s: %+v for %v", name, got.records, got.taps)
			}
			time.Sleep(2 * joinWait)
			synctest.Wait()
			if len(got.records) != 1 || len(a.meetings) != 0 || len(a.queue) != 0 {
				t.Errorf("%s: afterwards %d", name, len(got.records))
			}
		})
	}
}

// What has no other half is shown by itself, in time.
func TestAHalfAlone(t *testing.T) {
	joining(t, func(a *halves, got *deliveries) {
		a.take(time.Now(), 7, outHalf("a", 1))
		a.take(time.Now(), 8, inHalf("a", 1))
		a.take(time.Now(), 9, outHalf("a", 1))
		forged := inHalf("a", 1)
		forged.ServerID = "another"
		a.take(time.Now(), 9, forged)
		time.Sleep(joinWait - time.Millisecond)
		if n := len(got.all()); n != 0 {
			t.Errorf("%d are shown too soon", n)
		}
		time.Sleep(2 * time.Millisecond)
		if n := len(got.all()); n != 3 {
			t.Errorf("%d are shown, want 3", n)
		}
		for _, r := range got.all() {
			if r.Inbound != nil {
				t.Errorf("%+v has another half", r)
			}
		}
	})
}

// However many wait, no more than so many do.
func TestHalvesAreBounded(t *testing.T) {
	joining(t, func(a *halves, got *deliveries) {
		for hop := range uint64(maxMeetings + 10) {
			a.take(time.Now(), hop+1, outHalf("a", 1))
		}
		if len(got.records) != 10 || len(a.queue) != maxMeetings {
			t.Errorf("%d are shown, %d wait", len(got.records), len(a.queue))
		}
		for range 100 {
			a.take(time.Now(), 1, inHalf("b"))
		}
		if n := len(a.meetings[1].inbound); n > maxInbound {
			t.Errorf("%d tries are kept", n)
		}
	})
}
