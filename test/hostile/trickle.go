package main

import (
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// trickleSlack is how much later than its timeout a trickle may be ended: a timer's turn, and a
// busy machine.
const trickleSlack = 5 * time.Second

// slow is an attack that lasts until a timeout ends it.
func slow(name, want, counted string, timeout time.Duration, do func(nc net.Conn) result) *attack {
	return &attack{name: name, want: want, counted: counted, within: timeout + trickleSlack,
		once: func(pos *position) result {
			nc, err := pos.dial()
			if err != nil {
				return result{err: err}
			}
			defer nc.Close()
			began := time.Now()
			nc.SetDeadline(began.Add(patient(timeout + 2*trickleSlack)))
			r := do(nc)
			r.took = time.Since(began)
			return r
		}}
}

// slowHTTP2 gives a byte or so at a time, or nothing at all, or takes nothing. Each is ended by the
// timeout that is named.
func slowHTTP2() []*attack {
	return []*attack{
		slow("trickled frame", calm, calmed, limits.HeaderTimeout, frames(func(p *peer) {
			p.WriteSettings()
			p.out.Write([]byte{0, 0, 8, 6}) // the beginning of a PING
		})),
		slow("header block without an end", calm, calmed, limits.HeaderTimeout,
			frames(func(p *peer) {
				p.WriteSettings()
				p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.get("/")})
			})),
		slow("no SETTINGS", "GOAWAY SETTINGS_TIMEOUT", "caller_http2_settings_timeout",
			limits.HeaderTimeout, frames(func(p *peer) {})),
		slow("no request", "closed", "", limits.IdleHTTP,
			frames(func(p *peer) { p.WriteSettings() })),
		slow("a window of 0 for a large answer", "RST INTERNAL_ERROR", "", limits.BodyStall,
			frames(func(p *peer) {
				p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
				p.open(p.get("/big"), true)
			})),
	}
}

func slowHTTP1() []*attack {
	return []*attack{
		slow("trickled head", "408", "caller_http1_408", limits.HeaderTimeout,
			func(nc net.Conn) result {
				return drip(nc, "GET / HTTP/1.1\r\nHost: app\r\nX: ")
			}),
		slow("a large answer that nobody reads", "cut", "", limits.BodyStall+2*trickleSlack,
			func(nc net.Conn) result {
				io.WriteString(nc, "GET /huge HTTP/1.1\r\nHost: app\r\n\r\n")
				time.Sleep(limits.BodyStall + trickleSlack) // only who reads on hears of the end
				n, err := io.Copy(io.Discard, nc)
				if n > hugeBody || isTimeout(err) {
					return result{answer: served}
				}
				return result{answer: "cut"}
			}),
	}
}

// stoppedHandshake is a proxy's ClientHello, and no more.
func stoppedHandshake() *attack {
	return slow("a handshake that stops", "closed", handshakes, handshakeTime,
		func(nc net.Conn) result {
			nc.Write(meshHello()) // an error is an answer, and read
			_, err := io.Copy(io.Discard, nc)
			if isTimeout(err) {
				return result{answer: served}
			}
			return result{answer: "closed"}
		})
}

// trickledPreface is inside mTLS, where HTTP/2 is declared: in plaintext it may become HTTP/1, and
// is in the table of detection.
func trickledPreface() *attack {
	return slow("trickled preface", "GOAWAY SETTINGS_TIMEOUT", "caller_http2_settings_timeout",
		limits.HeaderTimeout, func(nc net.Conn) result {
			p := newPeer(nc)
			go p.read()
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for _, c := range []byte(clientPreface) {
				p.nc.Write([]byte{c}) // an error is an answer, and read
				select {
				case <-p.ended:
					return result{answer: p.answer()}
				case <-tick.C:
				}
			}
			return result{answer: p.answer()}
		})
}

// frames greets in HTTP/2 without SETTINGS, and does the rest.
func frames(do func(p *peer)) func(net.Conn) result {
	return func(nc net.Conn) result {
		p := newPeer(nc)
		io.WriteString(p.out, clientPreface)
		do(p)
		p.out.Flush() // an error is an answer, and read
		go p.read()
		return p.lasting()
	}
}

// drip says something and then writes on, until it is answered.
func drip(nc net.Conn, first string) result {
	io.WriteString(nc, first) // an error is an answer, and read
	heard := make(chan string, 1)
	go func() { heard <- listen(nc) }()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case answer := <-heard:
			return result{answer: answer}
		case <-tick.C:
			nc.Write([]byte("x"))
		}
	}
}

// trickle runs the slow rows beside all others: they take no CPU, and their memory is in the
// others' figures.
func trickle(rows []*row) (wait func()) {
	var all sync.WaitGroup
	for _, r := range rows {
		r.come(tricklersEach)
		all.Go(func() {
			results := make([]result, tricklersEach)
			var each sync.WaitGroup
			for i := range results {
				each.Go(func() { results[i] = r.once(r.position) })
			}
			each.Wait()
			r.judge(results, r.limit())
		})
	}
	return all.Wait
}
