package forward

import "time"

// maxLive tries of one request may be under way at a time: one that is slow, and its hedge.
const maxLive = 2

// tries are those of a request that are under way, the older one first. They are in the exchange's
// own memory: a request allocates no list.
type tries [maxLive]*attempt

func (l *tries) add(a *attempt) { l[len(l.all())] = a }

// remove takes a out, if it is there.
func (l *tries) remove(a *attempt) {
	switch a {
	case l[0]:
		l[0], l[1] = l[1], nil
	case l[1]:
		l[1] = nil
	}
}

// has reports whether a is under way: what an earlier try still says is ignored.
func (l *tries) has(a *attempt) bool { return l[0] == a || l[1] == a }

func (l *tries) all() []*attempt {
	n := 0
	for n < len(l) && l[n] != nil {
		n++
	}
	return l[:n]
}

// phase is the exchange's while they are under way, and none of them has brought an answer.
func (l *tries) phase() phase {
	switch {
	case l[1] != nil:
		return phaseHedging
	case l[0].up != nil:
		return phaseTrying
	}
	return phaseWaiting
}

// due is when the first of them is; 0: none ever is.
func (l *tries) due() (first time.Duration) {
	for _, a := range l.all() {
		if a.due > 0 && (first == 0 || a.due < first) {
			first = a.due
		}
	}
	return first
}
