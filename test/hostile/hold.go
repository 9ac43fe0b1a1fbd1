package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/net/http2"

	"github.com/tulle-mesh/tulle/proxy/config"
)

// meshHello is what a proxy's ClientHello looks like, from one that has no certificate.
func meshHello() []byte {
	ours, theirs := net.Pipe()
	defer ours.Close()
	go tls.Client(theirs, &tls.Config{ServerName: "1" + config.SNISuffix, InsecureSkipVerify: true,
		NextProtos: []string{config.ALPNHTTP}}).Handshake()
	b := make([]byte, 16<<10)
	n, _ := ours.Read(b) // the pipe's writer is there
	return b[:n]
}

// holders do nothing that is forbidden. They take what they can get and keep it: what they hold
// must be bounded.
func holders() []*attack {
	all := []*attack{
		slowly(http2Attack("DATA byte by byte (CVE-2026-84304)", served, "", func(p *peer) {
			id := p.open(p.post("/sink"), false)
			for range 500 {
				p.WriteData(id, false, []byte("x"))
			}
		})),
	}
	for _, n := range []int{2, limits.MaxCallerStreams} {
		hold := func(name string, do func(p *peer)) *attack {
			a := slowly(http2Attack(fmt.Sprintf("%s (%d)", name, n), served, "", do))
			if n == limits.MaxCallerStreams {
				a.crowds = true
				// a proxy may try elsewhere what finds no room at once
				a.want = served + "|RST REFUSED_STREAM"
			}
			all = append(all, a)
			return a
		}
		hold("streams without an answer", func(p *peer) { p.openMany(n, p.get("/hang")) })
		hold("the same, with 60 fields", func(p *peer) {
			p.openMany(n, append(p.get("/hang"), p.fields(60, "some value or other")...))
		})
		long := hold("the same, with heads of 12 KiB", func(p *peer) {
			p.openMany(n,
				append(p.get("/hang"), p.headers("x-long", strings.Repeat("long", 3<<10))...))
		})
		long.pace = paced(n * 12 << 10)
		pace := paced(n * limits.MaxHeaderBytes)
		largest := hold("the same, with heads of 64 KiB", func(p *peer) {
			block := append(p.get("/hang"), p.largest()...)
			for range n {
				p.open(block, true)
				time.Sleep(pace / time.Duration(n))
			}
		})
		// two each are more than Limits.MaxKeptLongHeads
		largest.pace, largest.want = pace, served+"|RST REFUSED_STREAM"
		hold("windows of 0 for large answers", func(p *peer) {
			p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
			p.openMany(n, p.get("/big"))
		})
		hold("large answers that nobody reads", func(p *peer) {
			p.deaf.Store(true)
			p.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
			p.WriteWindowUpdate(0, 1<<30)
			p.openMany(n, p.get("/big"))
		})
	}
	return all
}

// paced is the time between two attackers who send so many bytes each.
func paced(bytes int) time.Duration {
	return max(heavyArrival, time.Duration(bytes)*time.Second/largeRate)
}

// openMany opens n streams with the same head.
func (p *peer) openMany(n int, block []byte) {
	for range n {
		p.open(block, true)
	}
}

// fields are n different ones of the same value.
func (p *peer) fields(n int, value string) (block []byte) {
	for i := range n {
		block = append(block, p.headers(fmt.Sprintf("x-%d", i), value)...)
	}
	return block
}

// largest is, beside a GET's own fields, as many and as long as the proxy takes.
func (p *peer) largest() []byte {
	const own, entry = 4, 32 // RFC 9113 §6.5.2 counts so much for each beyond its text
	n := limits.MaxHeaderFields - own
	return p.fields(n, strings.Repeat("~", (limits.MaxHeaderBytes-own*2*entry)/n-entry-len("x-99")))
}
