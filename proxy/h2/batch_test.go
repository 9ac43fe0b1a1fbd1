package h2

import (
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// asking is a client that asks again from within the server's handler, so that each request arrives
// while the one before it is handled.
type asking struct {
	client  *Conn
	fields  []hpack.HeaderField
	left    int
	batches int
}

func (a *asking) OnHeaders([]hpack.HeaderField, bool) { a.ask() }
func (a *asking) OnData([]byte, bool)                 {}
func (a *asking) OnReset(uint32, error)               {}
func (a *asking) OnSent(int)                          {}

func (a *asking) ask() {
	if a.left--; a.left < 0 {
		a.client.w.Close()
		return
	}
	a.client.OpenStream(a.fields, true, nil) // refused: the count tells
	a.client.Flush()
}

// A peer that says one thing after the other is heard out before it is answered, up to a bound.
func TestABatchTakesWhatArrivesMeanwhile(t *testing.T) {
	for _, tt := range []struct{ requests, batches int }{{1, 1}, {maxMore, 1}, {3 * maxMore, 3}} {
		near, far := tcpPair(t)
		a := &asking{
			client: NewClient(wire.New(near, nil), Options{}),
			fields: leaveRequest,
			left:   tt.requests,
		}
		server := NewServer(
			wire.New(far, nil),
			Options{OnStream: func(*Stream) Sink { return a }, OnBatch: func() { a.batches++ }},
		)
		a.ask()
		server.Serve()
		// one more is the end's, and one may be the preface's
		if a.batches < tt.batches || a.batches > tt.batches+2 {
			t.Errorf("%d requests were %d batches, want %d", tt.requests, a.batches, tt.batches)
		}
	}
}
