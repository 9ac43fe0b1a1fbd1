package proxy

import (
	"slices"
	"sort"
)

// queue is tries that wait for the same thing. Callers' connections take turns (start-time fair queueing): who has many in it
// waits for himself, and the next one of another is behind no more than one of each. Its owner has the lock.
type queue struct {
	waiting []*attempt // by turn, and of one turn as they came
	turn    uint32     // of the last that was taken out
}

// add lets a wait among no more than limit; false: the queue has no room for another of its caller's.
func (q *queue) add(a *attempt, limit int) bool {
	if len(q.waiting) == 0 {
		q.turn = 0
	}
	a.turn = q.turn
	mine := 0
	for _, o := range q.waiting {
		if o.x.c == a.x.c {
			a.turn = o.turn + 1
			mine++
		}
	}
	if !leavesEnough(mine+1, len(q.waiting)+1, limit, 1) {
		return false
	}
	i := sort.Search(len(q.waiting), func(i int) bool { return q.waiting[i].turn > a.turn })
	q.waiting = slices.Insert(q.waiting, i, a)
	return true
}

// next takes out whose turn it is; there must be one.
func (q *queue) next() *attempt {
	a := q.waiting[0]
	q.waiting = slices.Delete(q.waiting, 0, 1)
	q.turn = a.turn
	return a
}

// again is for one that was taken out too early.
func (q *queue) again(a *attempt) { q.waiting = slices.Insert(q.waiting, 0, a) }

// remove takes a out, if it is there.
func (q *queue) remove(a *attempt) {
	if i := slices.Index(q.waiting, a); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
}

// all takes everything out.
func (q *queue) all() (waiting []*attempt) {
	waiting, q.waiting = q.waiting, nil
	return waiting
}

func (q *queue) size() int { return len(q.waiting) }

// leavesEnough: of what all callers share, one may take as much, so many times, as it leaves to others (the dynamic threshold of
// Choudhury and Hahne). The more of them want everything, the less each gets, and there is always room for who wants little.
func leavesEnough(mine, taken, limit, times int) bool { return mine*times <= limit-taken }
