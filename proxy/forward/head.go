package forward

import (
	"sync"

	"github.com/tulle-mesh/tulle/proxy/header"
	"github.com/tulle-mesh/tulle/proxy/memory"
	"golang.org/x/net/http2/hpack"
)

// A request's head is kept until a response begins, for it may have to be sent again: most of what
// an exchange would weigh, for a moment only. Many that wait for their answers on one connection
// weigh on: what its heads may take is bounded, and what the long ones of all connections may.

// pooledHead fits nearly every request.
const pooledHead = 32

var heads = sync.Pool{New: func() any { return new([pooledHead]hpack.HeaderField) }}

// newHead has room for n fields and two of ours.
func newHead(n int) []hpack.HeaderField {
	if n+2 > pooledHead {
		return make([]hpack.HeaderField, 0, n+2)
	}
	return heads.Get().(*[pooledHead]hpack.HeaderField)[:0]
}

// poolHead gives back what newHead gave; nobody knows it any more.
func poolHead(h []hpack.HeaderField) {
	if cap(h) != pooledHead {
		return
	}
	all := (*[pooledHead]hpack.HeaderField)(h[:pooledHead])
	clear(all[:])
	heads.Put(all)
}

// keptField is what a field takes beside its text.
const keptField = 40

// headsLeft: a connection's heads may be an eighth of what they leave to others. One alone has
// Limits.MaxHeads, and ten that have all they can get leave half.
const headsLeft = 8

// weighHead counts the request's head among those that wait, until it is freed. It is false if
// there is no room left. The short ones of the pod's own application have room: it may begin all of
// its streams at once.
func (x *exchange) weighHead() bool {
	x.weight = int32(weightOf(x.req))
	mine := x.countHead(int(x.weight))
	if x.c.own() && int(x.weight) <= x.c.f.Limits.LongHead {
		return true
	}
	return mine <= x.c.f.Limits.MaxHeads && x.longFits(mine, x.c.f.Limits.MaxLongHeads)
}

// weightOf is what a head takes, bytes.
func weightOf(head []hpack.HeaderField) (n int) {
	for i := range head {
		n += keptField + len(head[i].Name) + len(head[i].Value)
	}
	return n
}

// countHead adds n bytes to what the connection's heads take, which it returns, and if this one is
// long to what all callers' take.
func (x *exchange) countHead(n int) (mine int) {
	if int(x.weight) > x.c.f.Limits.LongHead {
		x.c.f.longHeads.Add(int64(n))
	}
	return int(x.c.Heads.Add(int64(n)))
}

// longFits reports whether the head, if it is long, leaves enough of what all callers' may take to
// others.
func (x *exchange) longFits(mine, limit int) bool {
	return int(x.weight) <= x.c.f.Limits.LongHead ||
		memory.LeavesEnough(mine, int(x.c.f.longHeads.Load()), limit, headsLeft)
}

// freeHead gives the request's head back: nothing will send it again.
func (x *exchange) freeHead() {
	poolHead(x.req)
	x.req = nil
	x.countHead(-int(x.weight))
	x.weight = 0
}

// sendOnce lets the head of a request that was sent go, where others take much. It cannot be sent
// again then.
func (x *exchange) sendOnce() {
	if mine := int(x.c.Heads.Load()); mine <= x.c.f.Limits.MaxKeptHeads &&
		x.longFits(mine, x.c.f.Limits.MaxKeptLongHeads) {
		return
	}
	x.kept, x.body = false, nil
	// An error of ours has no body for HEAD, and CORS goes by the origin.
	rest := []hpack.HeaderField{{Name: ":method", Value: header.Value(x.req, ":method")},
		{Name: "origin", Value: header.Value(x.req, "origin")}}
	x.freeHead()
	x.req = rest
}
