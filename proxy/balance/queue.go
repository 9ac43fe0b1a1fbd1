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
//
// A connection may put 10,000 into it at once, so neither end is found by counting.
type Queue struct {
	waiting []entry // by turn, and of one turn as they came; the first are gone
	first   int
	turn    uint32        // of the last that was taken out
	owners  map[any]share // of those that wait
}

type entry struct {
	Waiter
	turn uint32
}

// share is what one owner has in a queue.
type share struct {
	n    int
	turn uint32 // of the last
}

// keptQueue is how long a queue may have been for its memory to be kept.
const keptQueue = 1024

// Add lets w wait among no more than limit; false: the queue has no room for another of its
// owner's.
func (q *Queue) Add(w Waiter, limit int) bool {
	if q.Size() == 0 {
		q.turn = 0
	}
	mine := q.owners[w.Owner()]
	e := entry{w, q.turn}
	if mine.n > 0 {
		e.turn = mine.turn + 1
	}
	if !memory.LeavesEnough(mine.n+1, q.Size()+1, limit, 1) {
		return false
	}
	list := q.list()
	i := sort.Search(len(list), func(i int) bool { return list[i].turn > e.turn })
	q.waiting = slices.Insert(q.waiting, q.first+i, e)
	q.count(e, 1)
	return true
}

func (q *Queue) list() []entry { return q.waiting[q.first:] }

// count notes that an owner has one more, or one less.
func (q *Queue) count(e entry, n int) {
	mine := q.owners[e.Owner()]
	switch mine.n += n; {
	case mine.n == 0:
		delete(q.owners, e.Owner())
		return
	case n > 0:
		mine.turn = max(mine.turn, e.turn)
	case e.turn == mine.turn && e.turn > 0:
		mine.turn-- // it was the last, and the one before has an earlier turn
	}
	if q.owners == nil {
		q.owners = map[any]share{}
	}
	q.owners[e.Owner()] = mine
}

// Next takes out whose turn it is; there must be one.
func (q *Queue) Next() Waiter {
	e := q.waiting[q.first]
	q.turn = e.turn
	q.takeOut(q.first)
	return e.Waiter
}

// PutBack is for the one that was taken out last, and too early.
func (q *Queue) PutBack(w Waiter) {
	e := entry{w, q.turn}
	if q.first > 0 {
		q.first--
		q.waiting[q.first] = e
	} else {
		q.waiting = slices.Insert(q.waiting, 0, e)
	}
	q.count(e, 1)
}

// Remove takes w out, if it is there.
func (q *Queue) Remove(w Waiter) {
	list := q.list()
	if i := slices.IndexFunc(list, func(e entry) bool { return e.Waiter == w }); i >= 0 {
		q.takeOut(q.first + i)
	}
}

// takeOut takes out the ith. Those behind the first ones stay where they are, until as many have
// gone as are left.
func (q *Queue) takeOut(i int) {
	q.count(q.waiting[i], -1)
	if i > q.first {
		q.waiting = slices.Delete(q.waiting, i, i+1)
		return
	}
	q.waiting[i] = entry{}
	q.first++
	switch {
	case q.Size() == 0 && cap(q.waiting) > keptQueue:
		q.waiting, q.first = nil, 0
	case q.Size() <= q.first:
		q.waiting, q.first = slices.Delete(q.waiting, 0, q.first), 0
	}
}

// All takes everybody out.
func (q *Queue) All() (all []Waiter) {
	for _, e := range q.list() {
		all = append(all, e.Waiter)
	}
	*q = Queue{}
	return all
}

// Size is how many wait.
func (q *Queue) Size() int { return len(q.list()) }
