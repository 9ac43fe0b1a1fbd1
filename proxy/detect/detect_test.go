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
		{"empty record", "\x16\x03\x03\x00\x00", Opaque},
	} {
		for n := range len(tt.bytes) { // no prefix is mistaken for something else
			p, sure := Classify([]byte(tt.bytes[:n]))
			if sure && p != tt.want && tt.bytes[0] != '(' {
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
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	go func() {
		for _, s := range pieces {
			time.Sleep(pause)
			io.WriteString(client, s)
		}
		if end {
			client.Close()
		}
	}()
	began := time.Now()
	f, err := NewReader(server, limits).Read()
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
		{"GET", " /"}, {"G", "ET", "\t", "/"}, {"\r\n", "GET /"}, {"PRI * HTTP/2.0\r\n\r\n", "SM\r\n\r\n"}, {"GET *", " HTTP/1.1\r\n"},
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
			t.Errorf("%v, %q, %v after %v; want HTTP/1 after %v", f.Protocol, f.Bytes, err, took, limits.Header)
		}
		if f, _, err := read(0, false, strings.Repeat("A", limits.Bytes)); err != nil || f.Protocol != HTTP1 {
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

func FuzzDetect(f *testing.F) {
	recorded, err := os.ReadFile("testdata/clienthello")
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"GET / HTTP/1.1\r\n", Preface, string(recorded), "\x16\x03\x01\x00\x01\x01", "", "\r\nget\t* HTTP/1.1\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, sure := Classify(b)
		if h, ok, more := ParseHello(b); ok && more {
			t.Errorf("a hello that is whole and not: %+v", h)
		}
		// More bytes never change an answer that was sure; but what no line of HTTP begins with may be followed by one's rest.
		q, still := Classify(append(b, "GET / HTTP/1.1\r\n"...))
		if sure && (!still || p != q && (p != Opaque || q != HTTP1)) {
			t.Errorf("%v became %v", p, q)
		}
	})
}
