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
	for until := time.Now().Add(answerTime + answerSlack); ; time.Sleep(2 * time.Millisecond) {
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

// refusedCall is what a caller may get for a call to a hostile server: an error of the proxy's, or the end of an answer that
// had begun.
const refusedCall = "502|503|504|cut"

// hostile2 is an HTTP/2 server that waits for a request, does one thing, and for the answer.
func hostile2(name, want, counted string, do func(p *peer, id uint32)) serverAttack {
	return serverAttack{name: name, want: want, counted: counted, http2: true, script: func(nc net.Conn) result {
		p := newPeer(nc)
		id, ok := p.server()
		if !ok {
			return result{}
		}
		do(p, id)
		return p.verdict(want)
	}}
}

// server greets as one and returns the first request's stream.
func (p *peer) server() (id uint32, ok bool) {
	if _, err := io.ReadFull(p.nc, make([]byte, len(clientPreface))); err != nil {
		return 0, false
	}
	p.WriteSettings()
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
	return serverAttack{name: name, want: "closed", counted: counted, script: func(nc net.Conn) result {
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

// serverAttack is what a hostile server does; it becomes an attack with the caller that provokes it.
type serverAttack struct {
	name, want, counted string
	call                string // what its caller may get; "": refusedCall
	http2               bool
	script              func(net.Conn) result
}

func (a serverAttack) against(s *server) *attack {
	client := newClient(a.http2)
	return &attack{name: a.name, want: cmp.Or(a.call, refusedCall), wants: a.want, counted: a.counted, within: callTime, pace: heavyArrival,
		peers: s.taken,
		begin: func() { s.play(a.script) },
		once: func(pos *position) result {
			turn := <-turns
			defer func() { turns <- turn }()
			began := time.Now()
			resp, err := client.Get("http://" + pos.addr + "/")
			if err != nil {
				return result{answer: "cut", took: time.Since(began)}
			}
			defer resp.Body.Close()
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				return result{answer: "cut", took: time.Since(began)}
			}
			return result{answer: strconv.Itoa(resp.StatusCode), took: time.Since(began)}
		}}
}

func respond(p *peer, id uint32, fields ...string) {
	p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.headers(fields...), EndHeaders: true})
}

func hostileServers2() []serverAttack {
	const calmed, broken = "backend_http2_enhance_your_calm", "backend_http2_protocol_error"
	return []serverAttack{
		hostile2("server: headers without an end", calm, calmed, func(p *peer, id uint32) {
			p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: p.headers(":status", "200")})
			p.flood(plenty, func(int) { p.WriteContinuation(id, false, nil) })
		}),
		hostile2("server: HPACK bomb", calm, calmed, func(p *peer, id uint32) {
			block := p.headers(":status", "200", "x", "bomb")
			last := p.headers("x", "bomb")
			for len(block) < 16000 {
				block = append(block, last...)
			}
			p.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block, EndHeaders: true})
		}),
		hostile2("server: 1xx flood", calm, calmed, func(p *peer, id uint32) {
			p.flood(20*plenty, func(int) { respond(p, id, ":status", "103") })
		}),
		hostile2("server: PING flood", calm, calmed, func(p *peer, id uint32) {
			p.flood(plenty, func(i int) { p.WritePing(false, [8]byte{byte(i)}) })
		}),
		hostile2("server: SETTINGS flood", calm, calmed, func(p *peer, id uint32) { p.flood(plenty, func(int) { p.WriteSettings() }) }),
		hostile2("server: WINDOW_UPDATE flood", calm, calmed, func(p *peer, id uint32) {
			p.flood(plenty, func(int) { p.WriteWindowUpdate(0, 1) })
		}),
		hostile2("server: empty DATA", calm, calmed, func(p *peer, id uint32) {
			respond(p, id, ":status", "200")
			p.flood(plenty, func(int) { p.WriteData(id, false, nil) })
		}),
		hostile2("server: the window overflows", "GOAWAY FLOW_CONTROL_ERROR", "backend_http2_flow_control_error", func(p *peer, id uint32) {
			p.WriteWindowUpdate(0, 1<<31-1)
		}),
		hostile2("server: MAX_FRAME_SIZE of 0 (CVE-2026-33814)", protocol, broken, func(p *peer, id uint32) {
			p.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 0})
		}),
		hostile2("server: DATA before HEADERS", "RST PROTOCOL_ERROR", "backend_http2_stream_protocol_error", func(p *peer, id uint32) {
			p.WriteData(id, true, []byte("x"))
		}),
		hostile2("server: a response to no request", protocol, broken, func(p *peer, id uint32) { respond(p, id+100_000, ":status", "200") }),
		hostile2("server: PUSH_PROMISE", protocol, broken, func(p *peer, id uint32) {
			p.WritePushPromise(http2.PushPromiseParam{StreamID: id, PromiseID: 2, BlockFragment: p.get("/"), EndHeaders: true})
		}),
		hostile2("server: content-length differs", "RST PROTOCOL_ERROR", "backend_http2_stream_protocol_error", func(p *peer, id uint32) {
			respond(p, id, ":status", "200", "content-length", "1")
			p.WriteData(id, true, []byte("xx"))
		}),
		hostile2("server: GOAWAY for every connection", "closed", "", func(p *peer, id uint32) { p.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, nil) }),
		{name: "server: no HTTP/2 at all", want: "closed", http2: true, script: func(nc net.Conn) result {
			nc.Write(noise(64 << 10))
			began := time.Now()
			nc.SetReadDeadline(began.Add(answerTime + answerSlack))
			if _, err := io.Copy(io.Discard, nc); isTimeout(err) {
				return result{answer: served}
			}
			return result{answer: "closed", took: time.Since(began)}
		}},
	}
}

// asAnswered: the caller may get the answer, for it cannot be told from a good one.
func asAnswered(a serverAttack) serverAttack {
	a.call = "200|" + refusedCall
	return a
}

func hostileServers1() []serverAttack {
	const refused = "backend_http1_"
	say := func(name, counted, text string) serverAttack {
		return hostile1(name, counted, func(w *bufio.Writer) { io.WriteString(w, text) })
	}
	const ok, chunked = "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	return []serverAttack{
		say("server: a head without an end", refused+"431", ok+repeat("X: y\r\n", 30_000)),
		say("server: 1xx flood", refused+"502", repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 10_000)),
		say("server: a chunk extension of 64 KiB", refused+"400", chunked+"1;"+repeat("x", 64<<10)),
		say("server: extensions on tiny chunks", refused+"400", chunked+repeat("1;"+repeat("x", 900)+"\r\nx\r\n", 100)),
		say("server: two content-lengths", refused+"400", ok+"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
		say("server: no HTTP at all", refused+"414", repeat("\x16\x03\x01", 10_000)),
		say("server: switches protocols unasked", refused+"400", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
		// The answer is good; what follows it, or comes before its request, must reach nobody as an answer to another.
		asAnswered(say("server: unsolicited bytes", "", ok+"Content-Length: 2\r\n\r\nok"+repeat(ok, 1000))),
		asAnswered(serverAttack{name: "server: a response before the request", want: "closed", script: func(nc net.Conn) result {
			io.WriteString(nc, ok+"Content-Length: 4\r\n\r\nevil"+ok) // an error is an answer
			nc.SetReadDeadline(time.Now().Add(answerTime + answerSlack))
			if _, err := io.Copy(io.Discard, nc); isTimeout(err) {
				return result{answer: served}
			}
			return result{answer: "closed"}
		}}),
	}
}
