package detect

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	proxyV1 = "PROXY TCP6 ::1 ::2 1 2\r\n"
	proxyV2 = proxySignature + "\x21\x11\x00\x0c\x0a\x00\x00\x01\x0a\x00\x00\x02\x00\x01\x00\x02"
)

// hello is the first flight of a TLS client.
func hello(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go tls.Client(client, cfg).Handshake()
	b := make([]byte, 32<<10)
	n, err := server.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func TestClassify(t *testing.T) {
	whole := string(hello(t, &tls.Config{ServerName: "example.org", NextProtos: []string{"h2"}}))
	for _, tt := range []struct {
		name, bytes string
		want        Protocol
	}{
		{"request", "GET / HTTP/1.1\r\n", HTTP1},
		{"unknown method", "FROB-NICATE /x HTTP/1.0\r\n", HTTP1},
		{"lower case", "get / HTTP/1.1\r\n", HTTP1},
		{"a method of every kind of letter", "!#$%&'*+-.^_`|~09azAZ * HTTP/1.1\r\n", HTTP1},
		{"a method of 40 letters", strings.Repeat("A", 40) + " * HTTP/1.1\r\n", HTTP1},
		{"empty lines first", "\r\n\n\r\nGET / HTTP/1.1\r\n", HTTP1},
		{"whitespace first", "\t GET / HTTP/1.1\r\n", HTTP1},
		{"tabs between", "GET\t*\tHTTP/1.1\r\n", HTTP1},
		{"bare CR between", "GET\r*\rHTTP/1.1\r\n", HTTP1},
		{"Python's whitespace between", "GET\x1c*\x85\xa0HTTP/1.1\r\n", HTTP1},
		{"a version of no server's", "GET * HTTP/9.9\r\n", HTTP1},
		{"a version in lower case", "GET * http/1.1\r\n", HTTP1},
		{"spaces in the target", "GET *a b c HTTP/1.1\r\n", HTTP1},
		{"HTTP/0.9", "GET x\r\n", HTTP1},
		{"a path and something else", "GET /x FOO\r\n", HTTP1},
		{"absolute form", "GET HTTP://example.org/ HTTP/1.1\r\n", HTTP1},
		{"CONNECT", "CONNECT example.org:443 HTTP/1.1\r\n", HTTP1},
		{"HTTP/2's preface, misspelt", "PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n", HTTP1},
		{"no method, and a version", "(GET) / HTTP/1.1\r\n", HTTP1},
		{"bytes that no method has", "\x00\xff / HTTP/1.1\r\n", HTTP1},
		{"a PROXY header, then a request", proxyV1 + "GET / HTTP/1.1\r\n", HTTP1},
		{"a PROXY header, then the preface", proxyV1 + Preface, HTTP1},
		{"a binary PROXY header, then a request", proxyV2 + "GET / HTTP/1.1\r\n", HTTP1},
		{"a method that is called PROXY", "PROXY TCP4 HTTP/1.1\r\n", HTTP1},
		{"preface", Preface, HTTP2},
		{"client hello", whole, TLS},
		{"redis", "*1\r\n$4\r\nPING\r\n", Opaque},
		{"redis, inline", "PING\r\n", Opaque},
		{"memcached", "set key 0 0 5\r\nhello\r\n", Opaque},
		{"memcached, get", "get key\r\n", Opaque},
		{"SMTP", "HELO example.org\r\n", Opaque},
		{"SSH", "SSH-2.0-OpenSSH_9.6 Ubuntu-3\r\n", Opaque},
		{"RTSP", "OPTIONS rtsp://example.org/a RTSP/1.0\r\n", Opaque},
		{"SIP", "INVITE sip:bob@example.org SIP/2.0\r\n", Opaque},
		{"NATS", `CONNECT {"verbose":false,"name":"x"}` + "\r\n", Opaque},
		{"PostgreSQL", "\x00\x00\x00\x08\x04\xd2\x16\x2f", Opaque},
		{"XMPP", "<?xml version='1.0'?>", Opaque},
		{"a record that is no handshake", "\x17\x03\x03\x00\x05hello", Opaque},
		{"server hello", "\x16\x03\x03\x00\x04\x02\x00\x00\x00", Opaque},
		{"a PROXY header, then redis", proxyV1 + "*1\r\n$4\r\nPING\r\n", Opaque},
		{"a binary PROXY header, then TLS", proxyV2 + whole, Opaque},
		{"an access log", "127.0.0.1 - - [10/Oct/2026] \"GET / HTTP/1.1\" 200 2326\n", Opaque},
		{"an access log, by syslog", "<134>Oct 11 22:14:15 web: \"GET / HTTP/1.1\" 200\n", Opaque},
		{"empty record", "\x16\x03\x03\x00\x00", Opaque},
	} {
		for n := range len(tt.bytes) { // no prefix is mistaken for something else
			p, sure := Classify([]byte(tt.bytes[:n]))
			if sure && p != tt.want && Follow([]byte(tt.bytes[:n])) == nil {
				t.Fatalf("%s: the first %d bytes are taken for %v", tt.name, n, p)
			}
		}
		if p, sure := Classify([]byte(tt.bytes)); !sure || p != tt.want {
			t.Errorf("%s: %v, sure %v; want %v", tt.name, p, sure, tt.want)
		}
	}
}

var limits = Limits{Silence: time.Second, Header: 10 * time.Second, Bytes: 16 << 10}

// read says the pieces, each after a pause, and returns what Read makes of them, and when.
func read(pause time.Duration, end bool, pieces ...string) (First, time.Duration, error) {
	return readWith(limits, pause, end, pieces...)
}

func readWith(
	l Limits,
	pause time.Duration,
	end bool,
	pieces ...string,
) (First, time.Duration, error) {
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go func() {
		for _, s := range pieces {
			time.Sleep(pause)
			io.WriteString(client, s)
		}
		if end {
			synctest.Wait() // a closed pipe, unlike a socket, takes no deadline
			client.Close()
		}
	}()
	began := time.Now()
	f, err := NewReader(server, l).Read()
	return f, time.Since(began), err
}

func TestOnlySilenceTimesOutSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, took, err := read(0, false)
		if err != nil || !f.Silent() || f.Protocol != Opaque || took != limits.Silence {
			t.Errorf("%v, %v after %v; want silence after %v", f, err, took, limits.Silence)
		}
	})
}

func TestWhatMayBecomeHTTPIsWaitedFor(t *testing.T) {
	for _, pieces := range [][]string{
		{"GET", " /"}, {"G", "ET", "\t", "/"}, {"\r\n", "GET /"},
		{"PRI * HTTP/2.0\r\n\r\n", "SM\r\n\r\n"}, {"GET *", " HTTP/1.1\r\n"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f, took, err := read(limits.Silence*9/10, false, pieces...)
			if err != nil || !f.Protocol.IsHTTP() || string(f.Bytes) != strings.Join(pieces, "") {
				t.Errorf("%q: %v, %q, %v after %v", pieces, f.Protocol, f.Bytes, err, took)
			}
		})
	}
}

func TestSlownessIsNoWayOutOfHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, took, err := read(0, false, "GE")
		if err != nil || f.Protocol != HTTP1 || string(f.Bytes) != "GE" || took != limits.Header {
			t.Errorf("%v, %q, %v after %v; want HTTP/1 after %v", f.Protocol, f.Bytes, err, took,
				limits.Header)
		}
		long := strings.Repeat("A", limits.Bytes)
		if f, _, err := read(0, false, long); err != nil || f.Protocol != HTTP1 {
			t.Errorf("a long line is %v, %v; want HTTP/1", f.Protocol, err)
		}
		if f, _, err := read(0, false, "\x16\x03\x01"); !errors.Is(err, ErrSlow) {
			t.Errorf("a ClientHello that stops is %v, %v; want %v", f.Protocol, err, ErrSlow)
		}
		if f, _, err := read(0, true, "ruok"); err != nil || f.Protocol != Opaque {
			t.Errorf("a word and the end are %v, %v; want opaque", f.Protocol, err)
		}
	})
}

// A server may answer a word: it gets what does not tell after a pause, once, and then as it comes.
// But not a header field, in whatever form, and not a ClientHello that may be the mesh's.
func TestAWordIsGivenAwayAfterAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		defer server.Close()
		l := limits
		l.Pause = 3 * time.Second
		r := NewReader(server, l)
		for _, step := range []struct {
			say      string
			protocol Protocol
			unsure   bool
			after    time.Duration
		}{
			{"ru", Opaque, true, l.Pause}, {"ok", Opaque, true, 0}, {"", Opaque, false, l.Silence},
			{" x", Opaque, true, 0}, {"\ra:b", HTTP1, false, l.Header},
		} {
			go io.WriteString(client, step.say)
			began := time.Now()
			f, err := r.Read()
			took := time.Since(began).Truncate(time.Millisecond)
			as := f.Protocol == step.protocol && f.Unsure == step.unsure
			if err != nil || !as || took != step.after {
				t.Errorf("%q: %+v, %v after %v; want %+v", step.say, f, err, took, step)
			}
			if b := r.Untaken(); string(b) != step.say {
				t.Errorf("%q: %q is new", step.say, b)
			}
		}
		// The first line of HTTP/2's preface is a request to a server of HTTP/1.
		f, took, err := readWith(l, 0, false, "PRI * HTTP/2.0\r\n\r\n")
		if err != nil || f.Unsure || took != l.Header {
			t.Errorf("a preface that stops is %+v, %v after %v", f, err, took)
		}
		f, _, err = readWith(l, 0, false, "\x16\x03\x01")
		if !errors.Is(err, ErrSlow) {
			t.Errorf("a ClientHello that stops is %+v, %v; want %v", f, err, ErrSlow)
		}
		if f, _, err := readWith(l, 0, true, "GET *\ra:b"); err != nil || f.Protocol != HTTP1 {
			t.Errorf("a field in a line without an end is %+v, %v; want HTTP/1", f, err)
		}
	})
}

// However the deadlines of the reader and of who interrupts it follow each other.
func TestAnInterruptionIsNotUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, early := range []bool{true, false} {
			client, server := net.Pipe()
			r := NewReader(server, limits)
			if early {
				r.Interrupt()
			} else {
				time.AfterFunc(limits.Silence/2, r.Interrupt)
			}
			if f, err := r.Read(); !errors.Is(err, ErrInterrupted) {
				t.Errorf("early %v: %+v, %v", early, f, err)
			}
			go io.WriteString(client, "GET /")
			if f, err := r.Read(); err != nil || f.Protocol != HTTP1 {
				t.Errorf("early %v: %+v, %v after it", early, f, err)
			}
			client.Close()
			server.Close()
		}
	})
}

func TestALineIsARequestWhenItEndsInAVersion(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for _, tt := range []struct {
		line          string
		request, over bool
	}{
		{"\x00\x01 / HTTP/1.1", false, false},
		{"\x00\x01 / HTTP/1.1\r\n", true, true},
		{"\r\n\n(GET)\t/\x1chttp/1.0 \n", true, true},
		{"\x00\x01 / HTTP/1.1 200\n", false, true},
		{"\x00HTTP/1.1\n", false, true},
		{"HTTP/1.1\n", false, true}, // one word
		{"\x00 / XHTTP/1.1\n", false, true},
		{long + " HTTP/1.1\n", false, true},
	} {
		var l Line
		request := false
		for i := range len(tt.line) {
			request = l.Next([]byte(tt.line[i : i+1]))
		}
		if request != tt.request || l.Over() != tt.over {
			t.Errorf("%.40q: request %v, over %v", tt.line, request, l.Over())
		}
		if whole := new(Line); whole.Next([]byte(tt.line)) != request || *whole != l {
			t.Errorf("%.40q: at once it is %+v, byte by byte %+v", tt.line, *whole, l)
		}
	}
}

func FuzzDetect(f *testing.F) {
	recorded, err := os.ReadFile("testdata/clienthello")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{
		"GET / HTTP/1.1\r\n", Preface, string(recorded), "\x16\x03\x01\x00\x01\x01", "",
		"\r\nget\t* HTTP/1.1\r\n", proxyV1, proxyV2, "\x00 / HTTP/1.1",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, sure := Classify(b)
		if h, ok, more := ParseHello(b); ok && more {
			t.Errorf("a hello that is whole and not: %+v", h)
		}
		// More bytes change an answer that was sure in one way only: a line that is followed
		// becomes a request's.
		line := Follow(b)
		const more = "GET / HTTP/1.1\r\n"
		q, still := Classify(append(b, more...))
		request := line != nil && line.Next([]byte(more))
		if sure && (!still || p != q && (p.IsHTTP() || q != HTTP1 || !request)) {
			t.Errorf("%v became %v", p, q)
		}
	})
}
