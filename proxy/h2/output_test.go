package h2

import (
	"net"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// keeper lets a test write to the streams of a server.
type keeper struct {
	s    *Stream
	sent int
}

func (k *keeper) OnHeaders([]hpack.HeaderField, bool) {
	k.s.WriteHeaders([]hpack.HeaderField{{Name: ":status", Value: "200"}}, false)
}
func (k *keeper) OnData([]byte, bool)   {}
func (k *keeper) OnReset(uint32, error) {}
func (k *keeper) OnSent(n int)          { k.sent += n }

// The output is nearly full, and the peer reads nothing: what does not fit waits with its stream,
// nobody goes past a stream that waits, and everything leaves once the peer reads, though the
// output never reached its mark.
func TestNearlyFullOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, a := net.Pipe()
		var list []*keeper
		c := NewServer(
			wire.New(a, nil),
			Options{MaxOutput: 16 << 10, OnStream: func(s *Stream) Sink {
				list = append(list, &keeper{s: s})
				return list[len(list)-1]
			}},
		)
		served := make(chan error, 1)
		go func() { served <- c.Serve() }()
		p := newRawPeer(near, true)
		for id := uint32(1); id <= 5; id += 2 {
			p.headers(id, postBlock, true)
		}
		synctest.Wait()
		for i, step := range []struct{ give, accepted int }{
			{14 << 10, 14 << 10}, {10 << 10, 0}, {100, 0},
		} {
			if got := list[i].s.WriteData(make([]byte, step.give), true); got != step.accepted {
				t.Errorf("write %d: accepted %d, not %d", i, got, step.accepted)
			}
			list[i].s.Flush()
		}
		go p.readAll(nil, func(uint32) bool { return false }) // no window update wakes anybody
		synctest.Wait()
		for id, want := range map[uint32]int{1: 14 << 10, 3: 10 << 10, 5: 100} {
			if p.seen[id] != want || !p.ended[id] {
				t.Errorf("stream %d: %d bytes of %d, ended %v", id, p.seen[id], want, p.ended[id])
			}
		}
		if list[1].sent != 10<<10 || list[2].sent != 100 {
			t.Errorf("told of %d and %d bytes", list[1].sent, list[2].sent)
		}
		near.Close()
		<-served
	})
}

// silent does nothing by itself.
type silent struct{}

func (silent) OnHeaders([]hpack.HeaderField, bool) {}
func (silent) OnData([]byte, bool)                 {}
func (silent) OnReset(uint32, error)               {}
func (silent) OnSent(int)                          {}

// An informational response leaves though the output is full, before the final one; but a peer that
// reads nothing is not sent ever more of them. The 100 that it may be waiting for is.
func TestInformationalIntoAFullOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, a := net.Pipe()
		var list []*Stream
		c := NewServer(
			wire.New(a, nil),
			Options{MaxOutput: 16 << 10, OnStream: func(s *Stream) Sink {
				list = append(list, s)
				return silent{}
			}},
		)
		served := make(chan error, 1)
		go func() { served <- c.Serve() }()
		p := newRawPeer(near, true)
		for id := uint32(1); id <= 3; id += 2 {
			p.headers(id, postBlock, true)
		}
		synctest.Wait()
		say := func(s *Stream, status string, end bool) {
			s.WriteHeaders([]hpack.HeaderField{{Name: ":status", Value: status}}, end)
		}
		say(list[0], "200", false)
		list[0].WriteData(make([]byte, 32<<10), true)
		say(list[1], "103", false)
		for range 10000 {
			say(list[1], "102", false)
		}
		say(list[1], "100", false)
		say(list[1], "100", false)
		say(list[1], "200", true)
		list[1].Flush()
		seen, last := map[string]int{}, ""
		go func() {
			for {
				f, err := p.fr.ReadFrame()
				if err != nil {
					return
				}
				if f, ok := f.(*http2.MetaHeadersFrame); ok && f.StreamID == 3 {
					last = f.PseudoValue("status")
					seen[last]++
				}
			}
		}()
		synctest.Wait()
		if seen["103"] != 1 || seen["102"] == 0 || seen["102"] == 10000 || seen["100"] != 1 ||
			last != "200" {
			t.Errorf("%v, the last is %q", seen, last)
		}
		near.Close()
		<-served
	})
}
