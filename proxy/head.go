package proxy

import (
	"sync"

	"github.com/tulle-mesh/tulle/proxy/config"
	"golang.org/x/net/http2/hpack"
)

// A request's head is kept until a response begins, for it may have to be sent again: most of what an exchange would weigh, for
// a moment only. Many that wait for their answers on one connection weigh on: what its heads may take is bounded.

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

// keptField is what a field takes beside its text.
const keptField = 40

// weighHead counts the request's head among those of its connection, until it is freed. It is false if there is no room left.
func (x *exchange) weighHead() bool {
	for i := range x.req {
		x.weight += keptField + len(x.req[i].Name) + len(x.req[i].Value)
	}
	return x.c.heads.Add(int64(x.weight)) <= config.MaxHeads
}

// freeHead gives the request's head back: nothing will send it again.
func (x *exchange) freeHead() {
	if cap(x.req) == pooledHead {
		clear(x.req)
		heads.Put((*[pooledHead]hpack.HeaderField)(x.req[:pooledHead]))
	}
	x.req = nil
	x.c.heads.Add(-int64(x.weight))
	x.weight = 0
}

// sendOnce lets the head of a request that was sent go, where its connection's others take much. It cannot be sent again then.
func (x *exchange) sendOnce() {
	if x.c.heads.Load() <= config.MaxKeptHeads {
		return
	}
	x.kept, x.body = false, nil
	method := value(x.req, ":method") // an error of ours has no body for HEAD
	x.freeHead()
	x.req = []hpack.HeaderField{{Name: ":method", Value: method}}
}
