package main

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/tulle-mesh/tulle/proxy/config"
)

// trickleSlack is how much later than its timeout a trickle may be ended: a timer's turn, and a busy machine.
const trickleSlack = 5 * time.Second

// tricklers give a byte or so at a time, or nothing at all. Each is ended by the timeout that is named.
func tricklers() []*attack {
	slow := func(name, want string, timeout time.Duration, do func(nc net.Conn) result) *attack {
		return &attack{name: name, want: want, within: timeout + trickleSlack, once: func(pos *position) result {
			nc, err := pos.dial()
			if err != nil {
				return result{err: err}
			}
			defer nc.Close()
			began := time.Now()
			nc.SetDeadline(began.Add(timeout + 2*trickleSlack))
			r := do(nc)
			r.took = time.Since(began)
			return r
		}}
	}
	return []*attack{
		slow("trickled head", "408", config.HeaderTimeout, func(nc net.Conn) result {
			io.WriteString(nc, "GET / HTTP/1.1\r\nHost: app\r\nX: ")
			return drip(nc)
		}),
		slow("trickled frame", calm, config.HeaderTimeout, frames(func(p *peer) {
			p.WriteSettings()
			p.out.Write([]byte{0, 0, 8, 6}) // the beginning of a PING
		})),
		slow("header block without an end", calm, config.HeaderTimeout, frames(func(p *peer) {
			p.WriteSettings()
			p.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: p.get("/")})
		})),
		slow("no SETTINGS", "GOAWAY SETTINGS_TIMEOUT", config.HeaderTimeout, frames(func(p *peer) {})),
	}
}

// frames greets in HTTP/2 without SETTINGS, and does the rest.
func frames(do func(p *peer)) func(net.Conn) result {
	return func(nc net.Conn) result {
		p := newPeer(nc)
		io.WriteString(p.out, clientPreface)
		do(p)
		p.out.Flush() // an error is an answer, and read
		go p.read()
		for {
			if a := p.answer(); a != served {
				return result{answer: a}
			}
			select {
			case <-p.ended:
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
}

// drip writes on until it is answered.
func drip(nc net.Conn) result {
	heard := make(chan string, 1)
	go func() {
		line, err := bufio.NewReader(nc).ReadString('\n')
		if f := strings.Fields(line); err == nil && len(f) > 1 {
			heard <- f[1]
			return
		}
		heard <- "closed"
	}()
	for tick := time.NewTicker(200 * time.Millisecond); ; {
		select {
		case answer := <-heard:
			tick.Stop()
			return result{answer: answer}
		case <-tick.C:
			nc.Write([]byte("x"))
		}
	}
}

// trickle runs the slow rows beside all others: they take no CPU, and their memory is in the others' figures.
func trickle(rows []*row) (wait func()) {
	var all sync.WaitGroup
	for _, r := range rows {
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
