package main

import "time"

// events are what is to happen, in order; of the same time, as it was planned. They are a binary
// heap: container/heap would allocate for each.
type events struct {
	now     time.Duration
	planned uint64
	heap    []event
}

type event struct {
	at     time.Duration
	number uint64
	do     func()
}

func (e event) before(o event) bool {
	return e.at < o.at || e.at == o.at && e.number < o.number
}

// after plans what happens in a while.
func (q *events) after(d time.Duration, do func()) {
	q.planned++
	q.heap = append(q.heap, event{q.now + d, q.planned, do})
	for i := len(q.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !q.heap[i].before(q.heap[parent]) {
			return
		}
		q.heap[i], q.heap[parent] = q.heap[parent], q.heap[i]
		i = parent
	}
}

// run lets time pass until nothing is left to happen.
func (q *events) run() {
	for len(q.heap) > 0 {
		next := q.heap[0]
		last := len(q.heap) - 1
		q.heap[0], q.heap[last] = q.heap[last], event{}
		q.heap = q.heap[:last]
		q.sink()
		q.now = next.at
		next.do()
	}
}

// sink brings the first one to its place.
func (q *events) sink() {
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(q.heap); child++ {
			if q.heap[child].before(q.heap[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		q.heap[i], q.heap[least] = q.heap[least], q.heap[i]
		i = least
	}
}
