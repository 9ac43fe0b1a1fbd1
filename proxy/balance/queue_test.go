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
