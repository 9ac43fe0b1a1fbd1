package main

import (
	"bufio"
	"cmp"
	"io"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/http2"
)

// handshakeTime is what the proxy gives a TLS handshake.
const handshakeTime = 10 * time.Second

// stuckServer is one that stops in the middle. Each has an address of its own: they are called
// while others are.
type stuckServer struct {
	serverAttack
	kind    evilKind
	timeout time.Duration // the proxy's, that ends it
}

func stuckServers() []stuckServer {
	greeted := func(name, want, counted string, do func(p *peer, id uint32)) stuckServer {
		return stuckServer{timeout: limits.HeaderTimeout, serverAttack: serverAttack{
			name: name, want: want, counted: counted, http2: true, script: stuck2(true, do),
		}}
	}
	takesNothing := func(kind evilKind) stuckServer {
		return stuckServer{kind: kind, timeout: limits.BodyStall,
			serverAttack: serverAttack{name: "server: takes no body", want: "RST CANCEL",
				call: "504", http2: true, body: hugeBody,
				script: stuck2(true, func(*peer, uint32) {})}}
	}
	return []stuckServer{
		greeted("server: trickled frame", calm, "backend_http2_enhance_your_calm",
			func(p *peer, id uint32) { p.out.Write([]byte{0, 0, 8, 6}) }),
		greeted("server: header block without an end", calm, "backend_http2_enhance_your_calm",
			func(p *peer, id uint32) {
				p.WriteHeaders(http2.HeadersFrameParam{
					StreamID: id, BlockFragment: p.headers(":status", "200"),
				})
			}),
		{timeout: limits.HeaderTimeout, serverAttack: serverAttack{name: "server: no SETTINGS",
			want: "GOAWAY SETTINGS_TIMEOUT", counted: "backend_http2_settings_timeout", http2: true,
			script: stuck2(false, func(*peer, uint32) {})}},
		{kind: evilMute, timeout: handshakeTime,
			serverAttack: serverAttack{name: "server: no handshake", want: "closed",
				script: func(nc net.Conn) result { return untilClosed(nc, handshakeTime) }}},
		takesNothing(evilServer), takesNothing(evilProxy),
		{timeout: limits.BodyStall,
			serverAttack: serverAttack{name: "server: takes no body, HTTP/1", want: "closed",
				call: "504", body: hugeBody, script: stuck1}},
	}
}

// stuck1 reads a request's head, and for as long as the proxy should bear it no more.
func stuck1(nc net.Conn) result {
	if _, err := http.ReadRequest(bufio.NewReaderSize(nc, 16)); err != nil {
		return result{}
	}
	time.Sleep(limits.BodyStall + trickleSlack) // only who reads on hears of the end
	r := untilClosed(nc, trickleSlack)
	r.took = 0
	return r
}

// stuck2 is an HTTP/2 server that does one thing, and then waits for the proxy to lose patience.
func stuck2(greets bool, do func(p *peer, id uint32)) func(net.Conn) result {
	return func(nc net.Conn) result {
		nc.SetDeadline(time.Now().Add(patient(limits.BodyStall + 2*trickleSlack)))
		p := newPeer(nc)
		greet := p.mute
		if greets {
			greet = func() (uint32, bool) { return p.server() }
		}
		id, ok := greet()
		if !ok {
			return result{}
		}
		do(p, id)
		p.out.Flush() // an error is an answer, and read
		r := p.lasting()
		time.Sleep(answerTime) // for those that share the connection
		return r
	}
}

// mute reads the client's preface and does not answer it.
func (p *peer) mute() (id uint32, ok bool) {
	_, err := io.ReadFull(p.nc, make([]byte, len(clientPreface)))
	go p.read()
	return 0, err == nil
}

// lasting waits for an answer for as long as the connection's deadline lets it.
func (p *peer) lasting() result {
	began := time.Now()
	p.quiet.Store(true)
	for p.answer() == served {
		select {
		case <-p.ended:
		case <-time.After(50 * time.Millisecond):
		}
	}
	return result{answer: p.answer(), took: time.Since(began)}
}

// untilClosed reads until the proxy has hung up.
func untilClosed(nc net.Conn, timeout time.Duration) result {
	began := time.Now()
	nc.SetReadDeadline(began.Add(patient(timeout + 2*trickleSlack)))
	if _, err := io.Copy(io.Discard, nc); isTimeout(err) {
		return result{answer: served}
	}
	return result{answer: "closed", took: time.Since(began)}
}

// against is what its callers see. They do not wait for each other.
func (a stuckServer) against(e *evil) *attack {
	client := newClient(a.http2)
	client.Timeout = patient(a.timeout + 2*trickleSlack)
	return &attack{name: a.name, want: cmp.Or(a.call, refusedCall), wants: a.want,
		counted: a.counted, within: a.timeout + trickleSlack, peers: e.taken,
		once: func(pos *position) result { return a.provoke(client, pos) }}
}
