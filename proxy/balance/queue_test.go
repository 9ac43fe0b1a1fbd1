package balance

import (
	"slices"
	"testing"
)

// caller waits on behalf of itself.
type caller struct{ name string }

func (c *caller) Owner() any { return c }

// Who has much in a queue waits behind who has little, and never fills it.
func TestCallersTakeTurnsInAQueue(t *testing.T) {
	const limit = 1024
	greedy, modest := &caller{"greedy"}, &caller{"modest"}
	var q Queue
	n := 0
	for q.Add(greedy, limit) {
		n++
	}
	if n < limit/3 || n > limit/2 {
		t.Errorf("one caller may have %d of %d", n, limit)
	}
	for range 2 {
		if !q.Add(modest, limit) {
			t.Error("it leaves nothing to another")
		}
	}
	var order []string
	for range 5 {
		order = append(order, q.Next().(*caller).name)
	}
	want := []string{"greedy", "modest", "greedy", "modest", "greedy"}
	if !slices.Equal(order, want) {
		t.Errorf("they took turns as %v", order)
	}
	if !q.Add(modest, limit) || q.Next() != Waiter(modest) {
		t.Error("who comes back is behind more than one of each")
	}
}

// Who was taken out too early is the next one again, and its turn is not lost.
func TestWhoIsPutBackIsNext(t *testing.T) {
	first, second := &caller{"first"}, &caller{"second"}
	var q Queue
	q.Add(first, 8)
	q.Add(second, 8)
	q.PutBack(q.Next())
	if got := q.Next(); got != Waiter(first) {
		t.Error("another was taken out")
	}
	q.Remove(second)
	if q.Size() != 0 {
		t.Error("one that was removed still waits")
	}
}

// one is one of many who wait on behalf of the same.
type one struct{ owner *caller }

func (o *one) Owner() any { return o.owner }

// Whoever is taken out, put back or removed, the others stay in line, and the place is free.
func TestALongQueueKeepsItsOrder(t *testing.T) {
	const n = 10_000
	var q Queue
	owner := &caller{"channel"}
	all := make([]*one, n)
	for i := range all {
		all[i] = &one{owner}
		if !q.Add(all[i], 2*n) {
			t.Fatalf("%d wait", i)
		}
	}
	for i := 2; i < n; i += 3 {
		q.Remove(all[i])
	}
	for i := range all {
		if i%3 == 2 {
			continue
		}
		if got := q.Next(); got != Waiter(all[i]) {
			t.Fatalf("another than the %dth is next", i)
		}
		if i%2 == 0 {
			q.PutBack(all[i])
			q.Next()
		}
	}
	if q.Size() != 0 || !q.Add(all[0], 2) || q.Next() != Waiter(all[0]) {
		t.Error("somebody is left")
	}
}
