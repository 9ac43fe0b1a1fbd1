package main

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// hostile is an HTTP/2 server that behaves, but for what a case does when its request is here.
type hostile struct {
	net.Listener
	addr string

	mu    sync.Mutex
	now   misdeed
	taken bool // its connection is here
	conns map[*hostileConn]bool
}

// hostileConn is one connection, served by one goroutine: frames are handled in order.
type hostileConn struct {
	*rawH2
	first  bool     // the case's connection, and not one that the proxy made afterwards
	beside []uint32 // requests of others that wait until the misdeed is done
	heard  chan string
	done   chan struct{}
}

func startHostile() (*hostile, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &hostile{Listener: l, addr: l.Addr().String(), conns: map[*hostileConn]bool{}}
	go s.accept()
	return s, nil
}

func (s *hostile) close() error {
	s.hangUp()
	return s.Listener.Close()
}

// begin makes room for a case: nothing of the one before is left, and the next connection is the
// case's.
func (s *hostile) begin(d misdeed) {
	s.hangUp()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now, s.taken = d, false
}

// leave is a GOAWAY. It is written at once, as the connection's goroutine may be about to write
// frames too.
var leave = []byte("\x00\x00\x08\x07\x00\x00\x00\x00\x00\x7f\xff\xff\xff\x00\x00\x00\x00")

// hangUp ends the connections in an orderly way: were they just closed, the next request might
// still be sent on one.
func (s *hostile) hangUp() {
	s.mu.Lock()
	var list []*hostileConn
	for c := range s.conns {
		list = append(list, c)
	}
	s.mu.Unlock()
	for _, c := range list {
		c.Write(leave)
		select {
		case <-c.done:
		case <-time.After(answerWithin):
			c.Close()
			<-c.done
		}
	}
}

func (s *hostile) accept() {
	for {
		nc, err := s.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		c := &hostileConn{
			rawH2: newRawH2(nc), first: !s.taken, heard: s.now.heard, done: make(chan struct{}),
		}
		s.taken = true
		s.conns[c] = true
		d := s.now
		s.mu.Unlock()
		go func() {
			c.serve(d)
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
			close(c.done)
		}()
	}
}

func (c *hostileConn) serve(d misdeed) {
	defer c.Close()
	if _, err := io.ReadFull(c.Conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	if c.first && d.greet != nil {
		d.greet(c)
	} else {
		c.WriteSettings()
	}
	for {
		f, err := c.ReadFrame()
		if err != nil {
			c.tell("closed")
			return
		}
		c.handle(f, d)
	}
}

// tell notes what the proxy did with the case's connection.
func (c *hostileConn) tell(what string) {
	if c.first {
		select {
		case c.heard <- what:
		default: // a flood of answers: the first ones say enough
		}
	}
}

func (c *hostileConn) handle(f http2.Frame, d misdeed) {
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if !f.IsAck() && !(c.first && d.mute) {
			c.WriteSettingsAck()
		}
	case *http2.MetaHeadersFrame:
		c.request(f, d)
	case *http2.RSTStreamFrame:
		c.tell(fmt.Sprint("RST_STREAM ", f.ErrCode))
	case *http2.GoAwayFrame:
		c.tell(fmt.Sprint("GOAWAY ", f.ErrCode))
	case *http2.PingFrame:
		if !f.IsAck() {
			c.WritePing(true, f.Data)
		}
	}
}

func (c *hostileConn) request(f *http2.MetaHeadersFrame, d misdeed) {
	switch path := f.PseudoValue("path"); {
	case path == "/beside" && c.first:
		c.beside = append(c.beside, f.StreamID)
		c.tell("beside")
	case path == "/case" && c.first && d.do != nil:
		c.tell("case")
		d.do(c, f.StreamID)
		for _, id := range c.beside {
			c.good(id)
		}
	default:
		c.good(f.StreamID)
	}
}

// good is an orderly answer.
func (c *hostileConn) good(id uint32) {
	c.headers(id, false, ":status=200", "content-length=4")
	c.WriteData(id, true, []byte("good"))
}

// await is the next thing heard that begins so, or the last one before time ran out.
func await(heard chan string, prefix string) string {
	last := "nothing"
	for timeout := time.After(answerWithin); ; {
		select {
		case last = <-heard:
			if strings.HasPrefix(last, prefix) {
				return last
			}
		case <-timeout:
			return last
		}
	}
}
