package h2

import (
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// rawPeer speaks frames to one of our connections and reads only when it is told to.
type rawPeer struct {
	nc    net.Conn
	mu    sync.Mutex // of what is written
	fr    *http2.Framer
	seen  map[uint32]int // DATA bytes read, by stream
	ended map[uint32]bool
}

func newRawPeer(nc net.Conn, client bool) *rawPeer {
	p := &rawPeer{
		nc:    nc,
		fr:    http2.NewFramer(nc, nc),
		seen:  map[uint32]int{},
		ended: map[uint32]bool{},
	}
	p.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if client {
		io.WriteString(nc, preface)
	} else {
		io.ReadFull(nc, make([]byte, len(preface)))
	}
	p.fr.WriteSettings()
	p.fr.WriteWindowUpdate(0, 1<<20) // only streams are stuck
	return p
}

func (p *rawPeer) headers(id uint32, block []byte, end bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fr.WriteHeaders(
		http2.HeadersFrameParam{
			StreamID:      id,
			BlockFragment: block,
			EndHeaders:    true,
			EndStream:     end,
		},
	)
}

func (p *rawPeer) data(id uint32, n int, end bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fr.WriteData(id, end, make([]byte, n))
}

func (p *rawPeer) giveBack(id uint32, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fr.WriteWindowUpdate(id, uint32(n))
	p.fr.WriteWindowUpdate(0, uint32(n))
}

// readAll reads on, giving windows back to the streams that eager names.
func (p *rawPeer) readAll(onHeaders func(id uint32), eager func(id uint32) bool) {
	for {
		f, err := p.fr.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.MetaHeadersFrame:
			p.ended[f.StreamID] = f.StreamEnded()
			if onHeaders != nil {
				onHeaders(f.StreamID)
			}
		case *http2.DataFrame:
			p.seen[f.StreamID] += len(f.Data())
			p.ended[f.StreamID] = f.StreamEnded()
			if n := len(f.Data()); n > 0 && eager(f.StreamID) {
				p.giveBack(f.StreamID, n)
			}
		}
	}
}

func headerBlock(fields ...string) []byte {
	var buf blockBuffer
	enc := hpack.NewEncoder(&buf)
	enc.SetMaxDynamicTableSize(0)
	for i := 0; i < len(fields); i += 2 {
		enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return buf
}

type blockBuffer []byte

func (b *blockBuffer) Write(p []byte) (int, error) { *b = append(*b, p...); return len(p), nil }

var (
	postBlock = headerBlock(":method", "POST", ":scheme", "http", ":path", "/")
	okBlock   = headerBlock(":status", "200")
)

// Two peers that face each other through the relay and give no window for streams 1 must not hold
// up stream 3, in either direction.
func TestTwoStuckPeersDoNotStopOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, a := net.Pipe()
		b, far := net.Pipe()
		r := newRelay(wire.New(a, nil), wire.New(b, nil), Options{})
		r.start()
		client, server := newRawPeer(near, true), newRawPeer(far, false)
		notFirst := func(id uint32) bool { return id != 1 }
		go client.readAll(nil, notFirst)
		go server.readAll(func(id uint32) {
			server.headers(id, okBlock, false)
		}, notFirst)
		for _, id := range []uint32{1, 3} {
			client.headers(id, postBlock, false)
			synctest.Wait()
		}
		// Stream 1: both sides send all that its window allows, and nobody gives any back.
		for range 4 {
			client.data(1, 16383, false)
			server.data(1, 16383, false)
			synctest.Wait()
		}
		const chunks = 200
		for i := range chunks {
			client.data(3, 10_000, i == chunks-1)
			server.data(3, 10_000, i == chunks-1)
			synctest.Wait()
		}
		if client.seen[3] != chunks*10_000 || server.seen[3] != chunks*10_000 {
			t.Errorf(
				"stream 3: %d bytes came back, %d went through, of %d",
				client.seen[3],
				server.seen[3],
				chunks*10_000,
			)
		}
		if !client.ended[3] || !server.ended[3] {
			t.Error("stream 3 did not end")
		}
		near.Close()
		far.Close()
		r.wait()
	})
}

// A client that reads nothing at all makes the relay hold no more than its limits, however much the
// server has to say.
func TestSlowReaderIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, a := net.Pipe()
		b, far := net.Pipe()
		o := Options{StreamWindow: initialWindow, ConnWindow: 256 << 10, MaxOutput: 128 << 10}
		r := newRelay(wire.New(a, nil), wire.New(b, nil), o)
		r.start()
		client, server := newRawPeer(near, true), newRawPeer(far, false)
		client.fr.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
		client.fr.WriteWindowUpdate(0, 1<<30)
		sent := 0
		credit := map[uint32]int{0: 65535}
		go func() {
			for {
				f, err := server.fr.ReadFrame()
				if err != nil {
					return
				}
				switch f := f.(type) {
				case *http2.MetaHeadersFrame:
					credit[f.StreamID] = o.StreamWindow
					server.headers(f.StreamID, okBlock, false)
				case *http2.WindowUpdateFrame:
					credit[f.StreamID] += int(f.Increment)
				}
				for id, n := range credit {
					if n = min(n, credit[0], 16384); id != 0 && n > 0 {
						server.data(id, n, false)
						credit[id], credit[0], sent = credit[id]-n, credit[0]-n, sent+n
					}
				}
			}
		}()
		for id := uint32(1); id < 60; id += 2 {
			client.headers(id, postBlock, false)
			synctest.Wait()
		}
		for range 200 { // any sign of life makes the server look at its windows again
			client.fr.WritePing(false, [8]byte{})
			synctest.Wait()
		}
		if limit := o.ConnWindow + o.MaxOutput + 64<<10; sent > limit {
			t.Errorf("a client that reads nothing made us take %d bytes, more than %d", sent, limit)
		}
		if sent < o.ConnWindow {
			t.Errorf("only %d bytes were taken: the test shows nothing", sent)
		}
		held := 0
		r.down.w.Lock()
		for _, s := range r.down.streams {
			held += s.unsentLocked()
		}
		queued := r.down.w.QueuedLocked()
		r.down.w.Unlock()
		if held > o.ConnWindow || queued > o.MaxOutput+replyOverrun {
			t.Errorf("held %d, queued %d", held, queued)
		}
		near.Close()
		far.Close()
		r.wait()
	})
}

// A peer that asks for answers and reads none is cut off.
func TestUnreadAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, a := net.Pipe()
		c := NewServer(
			wire.New(a, nil),
			Options{MaxOutput: 16 << 10, OnStream: func(s *Stream) Sink { return &bigAnswer{s} }},
		)
		served := make(chan error, 1)
		go func() { served <- c.Serve() }()
		p := newRawPeer(near, true)
		for id := uint32(1); id < 200; id += 2 {
			p.headers(id, postBlock, true)
		}
		if err := <-served; codeOf(err) != CodeEnhanceYourCalm {
			t.Errorf("ended with %v", err)
		}
		near.Close()
	})
}

type bigAnswer struct{ s *Stream }

func (k *bigAnswer) OnHeaders([]hpack.HeaderField, bool) {
	k.s.WriteHeaders(
		[]hpack.HeaderField{
			{Name: ":status", Value: "200"},
			{Name: "x", Value: string(make([]byte, 20<<10)), Sensitive: true},
		},
		true,
	)
}
func (k *bigAnswer) OnData([]byte, bool)   {}
func (k *bigAnswer) OnReset(uint32, error) {}
func (k *bigAnswer) OnSent(int)            {}
