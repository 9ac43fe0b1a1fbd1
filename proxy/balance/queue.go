package balance

import (
	"slices"
	"sort"

	"github.com/tulle-mesh/tulle/proxy/memory"
)

// Waiter waits in a queue.
type Waiter interface {
	Owner() any // whose turn it takes: owners take turns
}

// Queue is who waits for the same thing. Callers' connections take turns (start-time fair
// queueing): who has many in it waits for himself, and the next one of another is behind no more
// than one of each. Its owner has the lock.
type Queue struct {
	waiting []entry // by turn, and of one turn as they came
	turn    uint32  // of the last that was taken out
}

type entry struct {
	Waiter
	turn uint32
}

// Add lets w wait among no more than limit; false: the queue has no room for another of its
// owner's.
func (q *Queue) Add(w Waiter, limit int) bool {
	if len(q.waiting) == 0 {
		q.turn = 0
	}
	e := entry{w, q.turn}
	mine := 0
	for _, o := range q.waiting {
		if o.Owner() == w.Owner() {
			e.turn = o.turn + 1
			mine++
		}
	}
	if !memory.LeavesEnough(mine+1, len(q.waiting)+1, limit, 1) {
		return false
	}
	i := sort.Search(len(q.waiting), func(i int) bool { return q.waiting[i].turn > e.turn })
	q.waiting = slices.Insert(q.waiting, i, e)
	return true
}

// Next takes out whose turn it is; there must be one.
func (q *Queue) Next() Waiter {
	e := q.waiting[0]
	q.waiting = slices.Delete(q.waiting, 0, 1)
	q.turn = e.turn
	return e.Waiter
}

// PutBack is for the one that was taken out last, and too early.
func (q *Queue) PutBack(w Waiter) { q.waiting = slices.Insert(q.waiting, 0, entry{w, q.turn}) }

// Remove takes w out, if it is there.
func (q *Queue) Remove(w Waiter) {
	if i := slices.IndexFunc(q.waiting, func(e entry) bool { return e.Waiter == w }); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
}

// All takes everybody out.
func (q *Queue) All() (all []Waiter) {
	for _, e := range q.waiting {
		all = append(all, e.Waiter)
	}
	q.waiting = nil
	return all
}

// Size is how many wait.
func (q *Queue) Size() int { return len(q.waiting) }
