package proxy

import (
	"slices"
	"testing"
)

// Who has much in a queue waits behind who has little, and never fills it.
func TestCallersTakeTurnsInAQueue(t *testing.T) {
	greedy, modest := &serverConn{}, &serverConn{}
	var q queue
	add := func(c *serverConn) bool { return q.add(&attempt{x: &exchange{c: c}}, limits.MaxQueue) }
	n := 0
	for add(greedy) {
		n++
	}
	if n < limits.MaxQueue/3 || n > limits.MaxQueue/2 {
		t.Errorf("one caller may have %d of %d", n, limits.MaxQueue)
	}
	for range 2 {
		if !add(modest) {
			t.Error("it leaves nothing to another")
		}
	}
	var order []*serverConn
	for range 5 {
		order = append(order, q.next().x.c)
	}
	if want := []*serverConn{greedy, modest, greedy, modest, greedy}; !slices.Equal(order, want) {
		t.Error("they did not take turns")
	}
	if !add(modest) || q.next().x.c != modest {
		t.Error("who comes back is behind more than one of each")
	}
}
