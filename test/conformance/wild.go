package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"
)

// wildServer answers HTTP/1 requests with whatever bytes a case has, and a request for /good as it
// should.
type wildServer struct {
	net.Listener
	addr string

	mu     sync.Mutex
	answer wildAnswer
	conns  int
	served chan int // the numbers of the connections that requests came on
}

// wildAnswer is what follows a request's head.
type wildAnswer struct {
	send   string
	closes bool // and then the connection ends
}

const wildGood = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"

func startWild() (*wildServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &wildServer{Listener: l, addr: l.Addr().String(), served: make(chan int, 100)}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.conns++
			go s.serve(c, s.conns)
		}
	}()
	return s, nil
}

func (s *wildServer) close() error { return s.Listener.Close() }

func (s *wildServer) set(a wildAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = a
}

func (s *wildServer) serve(c net.Conn, number int) {
	defer c.Close()
	for br := bufio.NewReader(c); ; {
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		s.mu.Lock()
		a := s.answer
		s.mu.Unlock()
		if req.URL.Path == "/good" {
			a = wildAnswer{send: wildGood}
		}
		if req.URL.Path != "/early" {
			io.Copy(io.Discard, req.Body)
		}
		s.served <- number
		if _, err := io.WriteString(c, a.send); err != nil || a.closes {
			return
		}
	}
}

// oneConnection is whether all that was served since the last call came on one.
func (s *wildServer) oneConnection() bool {
	conns := map[int]bool{}
	for len(s.served) > 0 {
		conns[<-s.served] = true
	}
	return len(conns) == 1
}
