package viz

import "time"

// span is the window of a question, in slots.
type span struct {
	now         time.Time
	first, last int64
	length      time.Duration
	live        bool // it ends now
	pods        bool // the question tells pods of a workload apart
}

func spanOf(now time.Time, q Query) span {
	length := q.Window
	if length == 0 {
		length = DefaultWindow
	}
	w := span{now: now, length: length, live: q.Ago < slotLength, last: slotNumber(now),
		pods: q.ofPods()}
	end := now
	if !w.live {
		end = now.Add(-q.Ago)
		w.last = slotNumber(end.Add(-1))
	}
	w.first = slotNumber(end.Add(-length).Add(slotLength - 1))
	return w
}

// ofPods says whether a question tells the pods of a workload apart.
func (q *Query) ofPods() bool {
	for _, text := range []string{q.Resource, q.From, q.To} {
		if kind, _, err := ParseResource(text); err == nil && kind == "pod" {
			return true
		}
	}
	return q.Group == GroupPod
}

func (w span) has(number int64) bool { return number >= w.first && number <= w.last }

// trendIndex places a slot in a trend, or says that it is in none.
func (w span) trendIndex(number int64) (int, bool) {
	i := int(number - (w.last - trendSlots))
	return i, i >= 0 && i < trendSlots
}

func (s *store) windowLocked(w span) Window {
	out := Window{Seconds: w.length.Seconds(),
		End: time.Unix(0, min((w.last+1)*int64(slotLength), w.now.UnixNano())).UTC()}
	first := s.history.number()
	if slots := s.slotsLocked(w); len(slots) > 0 {
		first = slots[0].number
	}
	if first != 0 {
		from := time.Unix(0, first*int64(slotLength)).UTC()
		out.HistoryFrom = &from
	}
	return out
}

// slotsLocked are the closed slots that can answer a question.
func (s *store) slotsLocked(w span) []*slot {
	if w.pods {
		return s.history.closed[s.history.podless:]
	}
	return s.history.closed
}
