package viz

import (
	"slices"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
)

// Bounds of what waits to be joined.
const (
	// joinWait is how long one half of a request waits for the other: proxies tell of what has
	// ended every tenth of a second.
	joinWait = 2 * time.Second
	// maxMeetings is how many requests wait. Those beyond it are shown by halves.
	maxMeetings = 4096
	// maxInbound is how many tries of a request are kept of which a caller's proxy has not told.
	maxInbound = 8
)

// half is what one proxy saw of a request, and for which taps it has told.
type half struct {
	*TapRecord
	taps []uint32
}

// paired reports whether another proxy may have seen the request, too.
func (h *half) paired() bool {
	return h.Security == metric.MTLS.String() && h.Transport == ""
}

func (h *half) outbound() bool { return h.Direction == metric.Outbound.String() }

// halves are requests of which one proxy has told, and another may. A request that was tried more
// than once has as many inbound halves: the one that counts is the last at the pod where the caller
// says that it ended.
type halves struct {
	deliver func(*TapRecord, []uint32)

	mu       sync.Mutex // guards what follows
	meetings map[uint64]*meeting
	queue    []*meeting // as they began
	timer    *time.Timer
}

// meeting is of one request.
type meeting struct {
	hop      uint64
	due      time.Time
	outbound *half
	inbound  []*half
	over     bool // what still comes is a try that the caller has given up
}

// take has a half meet the other.
func (a *halves) take(now time.Time, hop uint64, one *half) {
	a.mu.Lock()
	m := a.meetings[hop]
	if m == nil && len(a.queue) >= maxMeetings {
		a.mu.Unlock()
		a.deliver(one.TapRecord, one.taps)
		return
	}
	if m == nil {
		m = a.beginLocked(now, hop)
	}
	whole := m.add(one)
	a.mu.Unlock()
	if whole {
		m.show(a.deliver)
	}
}

func (a *halves) beginLocked(now time.Time, hop uint64) *meeting {
	m := &meeting{hop: hop, due: now.Add(joinWait)}
	if a.meetings == nil {
		a.meetings = map[uint64]*meeting{}
	}
	a.meetings[hop] = m
	a.queue = append(a.queue, m)
	if len(a.queue) == 1 {
		a.timer = time.AfterFunc(joinWait, a.sweep)
	}
	return m
}

// add reports whether both halves are here now. It is the caller's to show them.
func (m *meeting) add(one *half) bool {
	switch {
	case m.over, one.outbound() && m.outbound != nil, len(m.inbound) >= maxInbound:
		return false
	case one.outbound():
		m.outbound = one
	default:
		m.inbound = append(m.inbound, one)
	}
	m.over = m.outbound != nil && slices.ContainsFunc(m.inbound, m.outbound.meets)
	return m.over
}

// meets reports whether two halves are of the same try: each names the other's identity, and the
// caller's the pod.
func (h *half) meets(in *half) bool {
	return h.ServerPod == in.ServerPod && h.ClientID == in.ClientID && h.ServerID == in.ServerID
}

// show gives a request away as far as it is here.
func (m *meeting) show(deliver func(*TapRecord, []uint32)) {
	if m.outbound == nil {
		for _, one := range m.inbound {
			deliver(one.TapRecord, one.taps)
		}
		return
	}
	taps := m.outbound.taps
	for _, one := range slices.Backward(m.inbound) {
		if m.outbound.meets(one) {
			m.outbound.Inbound = one.TapRecord
			taps = append(slices.Clone(taps), one.taps...)
			break
		}
	}
	deliver(m.outbound.TapRecord, taps)
}

// sweep shows what has waited long enough.
func (a *halves) sweep() {
	now := time.Now()
	a.mu.Lock()
	var due []*meeting
	for len(a.queue) > 0 && !a.queue[0].due.After(now) {
		m := a.queue[0]
		a.queue[0] = nil
		a.queue = a.queue[1:]
		delete(a.meetings, m.hop)
		if !m.over {
			m.over = true
			due = append(due, m)
		}
	}
	if len(a.queue) > 0 {
		a.timer = time.AfterFunc(time.Until(a.queue[0].due), a.sweep)
	}
	a.mu.Unlock()
	for _, m := range due {
		m.show(a.deliver)
	}
}

// stop ends what waits.
func (a *halves) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
	}
}
