package main

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/tulle-mesh/tulle/identity/spiffe"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// server is one that the proxy calls, and that does what the row under way says.
type server struct {
	wait time.Duration // for the end of a connection whose caller has its answer

	mu      sync.Mutex // guards everything below
	script  func(nc net.Conn) result
	results []result
	conns   map[net.Conn]bool
}

// listen serves in plaintext, or as a proxy that has a certificate.
func (s *server) listen(src *spiffe.Source) (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	addr := l.Addr().String()
	if src != nil {
		l = tls.NewListener(l, spiffe.ServerConfig(src, []string{config.ALPNHTTP}, spiffe.AnyPeer))
	}
	s.conns = map[net.Conn]bool{}
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return // with the program
			}
			go s.serve(nc)
		}
	}()
	return addr, nil
}

func (s *server) serve(nc net.Conn) {
	defer nc.Close()
	s.mu.Lock()
	script := s.script
	s.conns[nc] = true
	s.mu.Unlock()
	if script == nil {
		return
	}
	r := script(nc)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, nc)
	if r.answer != "" {
		s.results = append(s.results, r)
	}
}

// play begins a row: connections of the one before are closed.
func (s *server) play(script func(net.Conn) result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script, s.results = script, nil
	for nc := range s.conns {
		nc.Close()
	}
}

// taken is how the connections of this row ended. A caller may have its answer before they have.
func (s *server) taken() []result {
	for until := time.Now().Add(s.wait); ; time.Sleep(2 * time.Millisecond) {
		s.mu.Lock()
		if len(s.results) > 0 || time.Now().After(until) {
			taken := s.results
			s.results = nil
			s.mu.Unlock()
			return taken
		}
		s.mu.Unlock()
	}
}

// refusedCall is what a caller may get for a call to a hostile server: an error of the proxy's, or
// the end of an answer that had begun.
const refusedCall = "502|503|504|cut"

// hostile2 is an HTTP/2 server that waits for a request, does one thing, and for the answer.
func hostile2(name, want, counted string, do func(p *peer, id uint32)) serverAttack {
	return serverAttack{name: name, want: want, counted: counted, http2: true,
		script: func(nc net.Conn) result {
			p := newPeer(nc)
			id, ok := p.server()
			if !ok {
				return result{}
			}
			do(p, id)
			return p.verdict(want)
		}}
}

// mild2 is an HTTP/2 server that does nothing which is forbidden: the proxy must bear it. The rest
// of a body whose answer is here it may keep to itself.
func mild2(
	name string, body int64, do func(p *peer, id uint32), settings ...http2.Setting,
) serverAttack {
	return asAnswered(serverAttack{name: name, want: served + "|RST CANCEL", http2: true,
		body: body, script: func(nc net.Conn) result {
			p := newPeer(nc)
			id, ok := p.server(settings...)
			if !ok {
				return result{}
			}
			do(p, id)
			p.out.Flush() // an error is an answer, and read
			time.Sleep(serverHold)
			return result{answer: p.answer()}
		}})
}

// server greets as one and returns the first request's stream.
func (p *peer) server(settings ...http2.Setting) (id uint32, ok bool) {
	if _, err := io.ReadFull(p.nc, make([]byte, len(clientPreface))); err != nil {
		return 0, false
	}
	p.WriteSettings(settings...)
	if p.out.Flush() != nil {
		return 0, false
	}
	fr := http2.NewFramer(io.Discard, p.nc)
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return 0, false
		}
		if f.Header().Type == http2.FrameHeaders {
			p.WriteSettingsAck()
			go p.read()
			return f.Header().StreamID, true
		}
	}
}

// hostile1 is an HTTP/1 server that does one thing and waits to be cut off.
func hostile1(name, counted string, do func(w *bufio.Writer)) serverAttack {
	return serverAttack{name: name, want: "closed", counted: counted,
		script: func(nc net.Conn) result {
			r := bufio.NewReader(nc)
			if _, err := http.ReadRequest(r); err != nil {
				return result{}
			}
			w := bufio.NewWriter(nc)
			do(w)
			w.Flush() // an error is an answer
			began := time.Now()
			nc.SetReadDeadline(began.Add(answerTime + answerSlack))
			if _, err := io.Copy(io.Discard, r); isTimeout(err) {
				return result{answer: served}
			}
			return result{answer: "closed", took: time.Since(began)}
		}}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}

// serverAttack is what a hostile server does; it becomes an attack with the caller that provokes
// it.
type serverAttack struct {
	name, want, counted string
	call                string // what its caller may get; "": refusedCall
	http2               bool
	body                int64 // of the caller's request
	script              func(net.Conn) result
}

func (a serverAttack) against(e *evil) *attack {
	client := newClient(a.http2)
	return heavy(&attack{name: a.name, want: cmp.Or(a.call, refusedCall), wants: a.want,
		counted: a.counted, within: callTime, peers: e.taken,
		begin: func() { e.play(a.script) },
		once: func(pos *position) result {
			turn := <-turns
			defer func() { turns <- turn }()
			return a.provoke(client, pos)
		}})
}

// provoke calls the server and says what came of it.
func (a serverAttack) provoke(client *http.Client, pos *position) result {
	began := time.Now()
	req, err := http.NewRequest("GET", "http://"+pos.addr+"/", nil)
	if a.body > 0 {
		req, err = http.NewRequest("POST", "http://"+pos.addr+"/", io.LimitReader(zeros{}, a.body))
	}
	if err != nil {
		return result{err: err}
	}
	resp, err := client.Do(req)
	if err != nil {
		return result{answer: "cut", took: time.Since(began)}
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return result{answer: "cut", took: time.Since(began)}
	}
	return result{answer: strconv.Itoa(resp.StatusCode), took: time.Since(began)}
}

// zeros is a body without an end.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
