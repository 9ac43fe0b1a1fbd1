package main

import (
	"bufio"
	"fmt"
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

// manyNames asks for what is the caller's to make up, and counts the series that the proxies made of it (CVE-2025-43915).
func manyNames(pos *position) result {
	nc, err := pos.dial()
	if err != nil {
		return result{err: err}
	}
	defer nc.Close()
	before, err := countSeries(pos.procs)
	if err != nil {
		return result{err: err}
	}
	p := newPeer(nc)
	p.client()
	for i := range 60 {
		p.open(p.headers(":method", fmt.Sprintf("M%d%d", i, time.Now().UnixNano()), ":scheme", "http", ":authority",
			fmt.Sprintf("host-%d-%d", i, time.Now().UnixNano()), ":path", fmt.Sprintf("/%d", time.Now().UnixNano())), true)
	}
	p.verdict(served)
	after, err := countSeries(pos.procs)
	if err == nil && after > before+fewSeries {
		err = fmt.Errorf("%d series became %d", before, after)
	}
	return result{answer: served, err: err}
}

// fewSeries are those of requests that were not there before, of one route and class.
const fewSeries = 40

func countSeries(procs []*process) (n int, err error) {
	for _, p := range procs {
		all, err := p.scrape()
		if err != nil {
			return 0, err
		}
		n += len(all)
	}
	return n, nil
}
