package h2

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// event answers its stream's head and says something once.
type event struct {
	s     *Stream
	sent  int
	reset error
}

func (e *event) OnHeaders([]hpack.HeaderField, bool) {
	e.s.WriteHeaders([]hpack.HeaderField{{Name: ":status", Value: "200"}}, false)
	e.s.WriteData(make([]byte, 1000), false)
}
func (e *event) OnData([]byte, bool)         {}
func (e *event) OnReset(_ uint32, err error) { e.reset = err }
func (e *event) OnSent(n int)                { e.sent += n }

// A peer that takes nothing for too long may be paused and come back, with its connection and its
// long streams as they were. What is for it was dropped meanwhile, so its connection ends, though
// it goes on talking; until then its streams take nothing, and nothing that is kept for them counts
// as sent.
func TestAConnectionWhosePeerTakesNothingEnds(t *testing.T) {
	for _, more := range []int{0, 20 << 10} {
		t.Run(fmt.Sprint(more), func(t *testing.T) { stallAPeer(t, more) })
	}
}

func stallAPeer(t *testing.T, more int) {
	synctest.Test(t, func(t *testing.T) {
		near, a := net.Pipe()
		w := wire.New(a, nil)
		var watch event
		c := NewServer(w, Options{IdleTimeout: time.Minute, MaxOutput: 8 << 10,
			OnStream: func(s *Stream) Sink { watch.s = s; return &watch }})
		served := make(chan error, 1)
		go func() { served <- c.Serve() }()
		p := newRawPeer(near, true)
		for { // the greeting, so that the pipe is clear
			f, err := p.fr.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := f.(*http2.WindowUpdateFrame); ok {
				break
			}
		}
		p.headers(1, postBlock, false) // from here on it reads nothing
		synctest.Wait()
		watch.s.WriteData(make([]byte, more), false) // of more than MaxOutput some is kept
		time.Sleep(w.Stall)
		synctest.Wait()
		if n := watch.s.WriteData(make([]byte, 500), false); n != 0 {
			t.Errorf("%d bytes were accepted of which none will arrive", n)
		}
		if _, err := c.OpenStream(nil, true, &watch); !errors.Is(err, ErrGoingAway) {
			t.Errorf("a stream was opened, or this was said: %v", err)
		}
		var talk sync.WaitGroup
		talk.Go(func() {
			for range 50 { // it is alive again
				p.mu.Lock()
				p.fr.WritePing(true, [8]byte{})
				p.mu.Unlock()
				time.Sleep(100 * time.Millisecond)
			}
		})
		began := time.Now()
		if err := <-served; err == nil {
			t.Error("the connection ended as if in order")
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it ended %v later", took)
		}
		if watch.reset == nil || watch.sent > 0 {
			t.Errorf("the stream heard of its end: %v; %d bytes that were kept count as sent",
				watch.reset, watch.sent)
		}
		near.Close()
		talk.Wait()
	})
}
