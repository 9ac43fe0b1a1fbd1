package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
)

// rawAttack is a client that writes, and is told a status, or cut off, or both.
func rawAttack(name, want, counted string, do func(w *bufio.Writer)) *attack {
	return &attack{name: name, want: want, counted: counted, once: func(pos *position) result {
		nc, err := pos.dial()
		if err != nil {
			return result{err: err}
		}
		defer nc.Close()
		if !accepts(want, served) {
			turn := <-turns
			defer func() { turns <- turn }()
		}
		heard := make(chan string, 1)
		go func() { heard <- listen(nc) }()
		w := bufio.NewWriterSize(nc, 16<<10)
		do(w)
		w.Flush() // an error is an answer, and read
		if accepts(want, served) {
			pos.hold()
			return await(heard, time.Millisecond) // it is here already
		}
		return await(heard, patient(answerTime+answerSlack))
	}}
}

func await(heard chan string, wait time.Duration) result {
	began := time.Now()
	select {
	case answer := <-heard:
		return result{answer: answer, took: time.Since(began)}
	case <-time.After(wait):
		return result{answer: served}
	}
}

// listen returns the first status that is no success, or how the connection ended.
func listen(nc net.Conn) string {
	for r := bufio.NewReader(nc); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return "closed"
		}
		f := strings.Fields(line)
		if len(f) > 1 && strings.HasPrefix(line, "HTTP/1.1 ") && f[1] > "299" {
			return f[1]
		}
	}
}

const head = "POST /sink HTTP/1.1\r\nHost: app\r\n"

func http1Floods() []*attack {
	refused := func(status string) string { return "caller_http1_" + status }
	say := func(name, want string, text func() string) *attack {
		return rawAttack(name, want, refused(want),
			func(w *bufio.Writer) { io.WriteString(w, text()) })
	}
	return []*attack{
		say("a request line of 64 KiB", "414", func() string {
			return "HEAD / HTTP/1.1\r\nHost: app\r\n\r\nGET /" +
				repeat("x", 64<<10) + " HTTP/1.1\r\n"
		}),
		say("a head of 1 MiB", "431",
			func() string { return head + "X: " + repeat("x", 1<<20) + "\r\n\r\n" }),
		say("a head without an end", "431",
			func() string { return head + repeat("X: y\r\n", 30_000) }),
		say("a chunk extension of 64 KiB", "400", func() string {
			return head + "Transfer-Encoding: chunked\r\n\r\n1;" + repeat("x", 64<<10) + "\r\nx\r\n"
		}),
		say("extensions on tiny chunks (CVE-2023-39326)", "400", func() string {
			return head + "Transfer-Encoding: chunked\r\n\r\n" +
				repeat("1;"+repeat("x", 900)+"\r\nx\r\n", 100)
		}),
		say("content-length and chunked", "400", func() string {
			return head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
		}),
		say("101 trailers", "431", func() string {
			return head + "Transfer-Encoding: chunked\r\n\r\n0\r\n" +
				repeat("X: y\r\n", 101) + "\r\n"
		}),
		slowly(rawAttack("1-byte chunks", served, "", func(w *bufio.Writer) {
			io.WriteString(w, head+"Transfer-Encoding: chunked\r\n\r\n"+
				repeat("1\r\nx\r\n", 10_000))
		})),
		slowly(rawAttack("500 requests pipelined, nothing read", served, "", func(w *bufio.Writer) {
			io.WriteString(w, repeat("GET / HTTP/1.1\r\nHost: app\r\n\r\n", 500))
		})),
		rawAttack("a body that is promised and never sent", served, "", func(w *bufio.Writer) {
			fmt.Fprintf(w, "%sContent-Length: %d\r\n\r\n", head, 1<<30)
		}),
	}
}

// connectionFloods need no protocol.
func connectionFloods() []*attack {
	return []*attack{
		{name: "connect and reset", want: "gone", once: func(pos *position) result {
			for range 10 {
				nc, err := pos.dial()
				if err != nil {
					return result{err: err}
				}
				if tc, ok := nc.(*net.TCPConn); ok {
					tc.SetLinger(0) // RST
				}
				nc.Close()
			}
			return result{answer: "gone"}
		}},
		rawAttack("garbage", "closed|400|"+served, "",
			func(w *bufio.Writer) { w.Write(noise(8 << 10)) }),
	}
}

// trickled says the first bytes of something one by one, for longer than the proxy takes to find
// out what it is. Those that may become HTTP or not are the application's then, which may end it.
func trickled(name string, text func() []byte) *attack {
	return rawAttack(name, "closed|400|"+served, "", func(w *bufio.Writer) {
		const pause = 50 * time.Millisecond
		for _, c := range text()[:3*config.DefaultLimits().DetectTimeout/(2*pause)] {
			w.WriteByte(c)
			if w.Flush() != nil {
				return
			}
			time.Sleep(pause)
		}
	})
}

// noise is bytes without a meaning, always the same.
func noise(n int) []byte {
	b := make([]byte, n)
	x := uint32(2463534242)
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x) | 0x80
	}
	return b
}

// handshakes counts those that failed.
const handshakes = `tulle_connections_refused_total{reason="handshake"}`

// tlsFloods are at the port where TLS is expected.
func tlsFloods() []*attack {
	return []*attack{
		rawAttack("a ClientHello that lies about its length", "closed|400|"+served, "",
			func(w *bufio.Writer) {
				w.Write([]byte{22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff, 3, 3})
				w.Write(noise(16 << 10))
			}),
		rawAttack("our ClientHello, and then garbage", "closed", handshakes, func(w *bufio.Writer) {
			w.Write(meshHello())
			w.Write(noise(1 << 10))
		}),
	}
}

func repeat(s string, n int) string { return strings.Repeat(s, n) }
