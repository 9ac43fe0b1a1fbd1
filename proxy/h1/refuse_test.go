package h1

import (
	"fmt"
	"strings"
	"testing"
)

const (
	post    = "POST / HTTP/1.1\r\nHost: a\r\n"
	chunked = post + "Transfer-Encoding: chunked\r\n\r\n"
)

// refusedRequests are ambiguous or malformed: each is answered and ends its connection.
var refusedRequests = []struct {
	status int
	in     string
}{
	{400, post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"},
	{400, post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"},
	{400, post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"},
	{400, post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n"},
	{400, post + "Content-Length: 5, 5\r\n\r\n"},
	{400, post + "Content-Length: +5\r\n\r\n"},
	{400, post + "Content-Length: -5\r\n\r\n"},
	{400, post + "Content-Length: 0x5\r\n\r\n"},
	{400, post + "Content-Length: 5 5\r\n\r\n"},
	{400, post + "Content-Length:\r\n\r\n"},
	{400, post + "Content-Length: 9999999999999999999\r\n\r\n"},
	{400, post + "Transfer-Encoding: gzip\r\n\r\n"},
	{400, post + "Transfer-Encoding: identity\r\n\r\n"},
	{400, post + "Transfer-Encoding: chunked, chunked\r\n\r\n"},
	{400, post + "Transfer-Encoding: gzip, chunked\r\n\r\n"},
	{400, post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"},
	{400, post + "Transfer-Encoding: \x0bchunked\r\n\r\n"},
	{400, post + "Transfer-Encoding: chunked;q=1\r\n\r\n"},
	{400, post + "Transfer-Encoding : chunked\r\n\r\n"},
	{400, "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"},
	{400, post + "A: b\r\n c\r\n\r\n"},
	{400, post + "A: b\r\n\tc\r\n\r\n"},
	{400, "GET / HTTP/1.1\r\n Host: a\r\n\r\n"},
	{400, "GET / HTTP/1.1\nHost: a\n\n"},
	{400, "GET / HTTP/1.1\r\nHost: a\n\r\n"},
	{400, post + "A: b\rc\r\n\r\n"},
	{400, post + "A: b\r\r\n\r\n"},
	{400, post + "A: b\x00c\r\n\r\n"},
	{400, post + "A: b\x01c\r\n\r\n"},
	{400, post + "A: b\x7fc\r\n\r\n"},
	{400, post + "A b: c\r\n\r\n"},
	{400, post + "A : c\r\n\r\n"},
	{400, post + ": c\r\n\r\n"},
	{400, post + "A\x00: c\r\n\r\n"},
	{400, post + "\xc3\xa4: c\r\n\r\n"},
	{400, post + "A(: c\r\n\r\n"},
	{400, post + "nocolon\r\n\r\n"},
	{400, post + ":method: GET\r\n\r\n"},
	{400, post + "Connection: a b\r\n\r\n"},
	{400, "GET / HTTP/1.1\r\n\r\n"},
	{400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"},
	{400, "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"},
	{400, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"},
	{400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"},
	{400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"},
	{400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"},
	{400, "GET / HTTP/1.1\r\nHost: a:\r\n\r\n"},
	{400, "GET / HTTP/1.1\r\nHost: a:http\r\n\r\n"},
	{400, "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n"},
	{400, "GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n"},
	{400, "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"},
	{400, "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n"},
	{400, "GET http://u:p@a/ HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "GET http://a#f HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "GET /#f HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "GET x HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "GET /  HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, " GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "GET /\r\nHost: a\r\n\r\n"},
	{400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"},
	{400, "GET / http/1.1\r\nHost: a\r\n\r\n"},
	{400, "GET / HTTP/1.10\r\nHost: a\r\n\r\n"},
	{400, "GET / HTTP/1\r\nHost: a\r\n\r\n"},
	{400, "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
	{505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"},
	{505, "GET / HTTP/1.2\r\nHost: a\r\n\r\n"},
	{505, "GET / HTTP/0.9\r\nHost: a\r\n\r\n"},
	{505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
	{400, "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "CONNECT /a HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "CONNECT http://a:80/ HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "CONNECT [::1] HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "CONNECT u@a:80 HTTP/1.1\r\nHost: a\r\n\r\n"},
	{400, "CONNECT a:80 HTTP/1.1\r\n\r\n"},
	{400, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nContent-Length: 1\r\n\r\nx"},
	{400, "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
	{414, "GET /" + strings.Repeat("x", maxStartLine) + " HTTP/1.1\r\nHost: a\r\n\r\n"},
	{414, "GET /" + strings.Repeat("x", maxStartLine+1)},
	{431, post + "A: " + strings.Repeat("x", 64<<10) + "\r\n\r\n"},
	{431, post + "A: " + strings.Repeat("x", 90<<10)},
	{431, post + strings.Repeat("A: b\r\n", 100) + "\r\n"},
	{400, chunked + "x\r\n"},
	{400, chunked + "\r\n"},
	{400, chunked + "0x5\r\nabcde\r\n"},
	{400, chunked + "+5\r\nabcde\r\n"},
	{400, chunked + "-5\r\nabcde\r\n"},
	{400, chunked + " 5\r\nabcde\r\n"},
	{400, chunked + "5 \r\nabcde\r\n"},
	{400, chunked + "5 ;x\r\nabcde\r\n"},
	{400, chunked + "5,5\r\nabcde\r\n"},
	{400, chunked + "5\nabcde\r\n"},
	{400, chunked + "5\r\nabcdeX"},
	{400, chunked + "5\r\nabcde\rX"},
	{400, chunked + "5\r\nabcde\n"},
	{400, chunked + "5\r\nabcdef\r\n"},
	{400, chunked + "ffffffffffffffff\r\n"},
	{400, chunked + "10000000000000000\r\n"},
	{400, chunked + "0000000000000005\r\n"},
	{400, chunked + "5;a\nb\r\nabcde\r\n"},
	{400, chunked + "5;a\rb\r\nabcde\r\n"},
	{400, chunked + "5;" + strings.Repeat("x", maxChunkLine) + "\r\nabcde\r\n"},
	{400, chunked + "5;" + strings.Repeat("x", maxChunkLine+10)},
	{400, chunked + strings.Repeat("1;"+strings.Repeat("x", 1000)+"\r\na\r\n", 20)},
	{400, chunked + "0\r\nA\r\n\r\n"},
	{400, chunked + "0\r\nA: b\n\r\n"},
	{400, chunked + "0\r\nContent-Length: 5\r\n\r\n"},
	{400, chunked + "0\r\nTransfer-Encoding: chunked\r\n\r\n"},
	{400, chunked + "0\r\nHost: b\r\n\r\n"},
	{400, chunked + "0\r\n:path: b\r\n\r\n"},
	{431, chunked + "0\r\n" + strings.Repeat("A: b\r\n", 101) + "\r\n"},
}

func TestRequestsReadRefused(t *testing.T) {
	for _, c := range refusedRequests {
		t.Run(fmt.Sprintf("%.60q", c.in), func(t *testing.T) {
			serverTalk(t, Options{}, nil, func(p *peer) {
				p.send(c.in)
				got := p.got()
				if want := fmt.Sprintf("HTTP/1.1 %d ", c.status); !strings.HasPrefix(got, want) {
					t.Errorf("%.100q: got %q, want %q", c.in, got, want)
				}
				if !strings.Contains(got, "\r\nconnection: close\r\n") {
					t.Errorf("got %q", got)
				}
				p.wantClosed(true)
				if p.requests() == 1 && !strings.Contains(p.rec(0).heard(), "| reset 1 ") {
					t.Errorf("heard %q", p.rec(0).heard())
				}
			})
		})
	}
}

const absolute = " " + AbsoluteField + "=1"

func TestCanonical(t *testing.T) {
	const web = " :scheme=http :authority="
	const at = ":method=GET" + web
	for in, want := range map[string]string{
		"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n":        getFields,
		"GET / HTTP/1.1\r\nhOsT:\t a \r\n\r\n":         getFields,
		"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n":     getFields + absolute,
		"GET HTTP://A/ HTTP/1.1\r\nHost: a\r\n\r\n":    at + "A :path=/" + absolute,
		"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n":    at + "b :path=/" + absolute,
		"GET http://a/ HTTP/1.1\r\nHost: a:80\r\n\r\n": getFields + absolute,
		"GET http://a:80/ HTTP/1.1\r\nHost:\r\n\r\n":   at + "a:80 :path=/" + absolute,
		"GET / HTTP/1.1\r\nHost: \r\n\r\n":             ":method=GET :scheme=http :path=/ host=",
		"GET / HTTP/1.0\r\nHost:\r\n\r\n":              ":method=GET :scheme=http :path=/ host=",
		"GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n":   at + "a :path=/?q" + absolute,
		"GET http://a/x HTTP/1.0\r\n\r\n":              at + "a :path=/x" + absolute,
		"GET / HTTP/1.0\r\n\r\n":                       ":method=GET :scheme=http :path=/",
		"GET / HTTP/1.0\r\nHost: a\r\n" +
			"Expect: 100-continue\r\n\r\n": getFields,
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n": ":method=OPTIONS" + web + "a :path=*",
		"OPTIONS http://a HTTP/1.1\r\n" +
			"Host: a\r\n\r\n": ":method=OPTIONS" + web + "a :path=*" + absolute,
		"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n":       at + "[::1]:80 :path=/",
		"get / HTTP/1.1\r\nHost: a\r\n\r\n":              ":method=get" + web + "a :path=/",
		"GET //x/../%2F;a?b HTTP/1.1\r\nHost: a\r\n\r\n": at + "a :path=//x/../%2F;a?b",
		"GET / HTTP/1.1\r\nHost: a\r\nX:\r\n" +
			"Y: \xc3\xa4\r\n\r\n": getFields + " x= y=\xc3\xa4",
		"GET / HTTP/1.1\r\nHost: a\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\n" +
			"TE: gzip\r\n\r\n": getFields,
		"GET / HTTP/1.1\r\nHost: a\r\nTE: gzip, Trailers\r\n" +
			"Connection: TE\r\n\r\n": getFields + " te=trailers",
		"GET / HTTP/1.1\r\nX-A: 1\r\nHost: a\r\nConnection: ,x-A , host,, x-b\r\nX-B: 2\r\n" +
			"X: 3\r\n\r\n": getFields + " x=3",
		"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n" +
			"Connection: Upgrade, HTTP2-Settings\r\n\r\n": getFields,
		"GET / HTTP/1.1\r\nHost: a\r\n" +
			"Upgrade: websocket\r\n\r\n": getFields,
		"GET / HTTP/1.0\r\nHost: a\r\nUpgrade: websocket\r\n" +
			"Connection: upgrade\r\n\r\n": getFields,
		"GET https://a/x HTTP/1.1\r\n" +
			"Host: a\r\n\r\n": ":method=GET :scheme=https :authority=a :path=/x" + absolute,
		"GET /\xc3\xa4\x85 HTTP/1.1\r\nHost: a\r\n\r\n": at + "a :path=/\xc3\xa4\x85",
		"GET / HTTP/1.1\r\nHost: a\r\n" +
			"Absolute-Target: 1\r\nUpgrade-Length: 1\r\n\r\n": getFields,
		"POST / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\nConnection: upgrade\r\n" +
			"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n": ":method=POST" + web +
			"a :path=/ | data \"\"",
		"HEAD / HTTP/1.1\r\nHost: a\r\nUpgrade: x\r\n" +
			"Connection: upgrade\r\n\r\n": ":method=HEAD" + web + "a :path=/",
		"POST / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n" +
			"Connection: upgrade\r\n\r\n": ":method=POST" + web + "a :path=/",
	} {
		serverTalk(t, Options{}, nil, func(p *peer) {
			p.send(in)
			p.want(p.rec(0).heard(), want+" end")
		})
	}
}

// What begins a tunnel has no end of its own, and nothing that would give it one.
func TestTunnelsRead(t *testing.T) {
	up := "HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x/1\r\n"
	for in, want := range map[string]string{
		"GET / " + up + "\r\n": ":method=GET :scheme=http :authority=a :path=/ :protocol=x/1",
		"GET / " + up + "Content-Length: 0\r\n\r\n": ":method=GET :scheme=http :authority=a" +
			" :path=/ :protocol=x/1",
		"POST / " + up + "Content-Length: 03\r\nA: b\r\n\r\n": ":method=POST :scheme=http" +
			" :authority=a :path=/ :protocol=x/1 a=b upgrade-length=3",
		"POST / " + up + "Content-Length: 0\r\nA: b\r\n\r\n": ":method=POST :scheme=http" +
			" :authority=a :path=/ :protocol=x/1 a=b",
		"CONNECT b:443 HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n": ":method=CONNECT :authority=b:443 a=b",
		"CONNECT [::1]:443 HTTP/1.0\r\nContent-Length: 0\r\n\r\n": ":method=CONNECT" +
			" :authority=[::1]:443",
		"CONNECT b:443 " + up + "\r\n": ":method=CONNECT :authority=b:443",
	} {
		serverTalk(t, Options{}, nil, func(p *peer) {
			p.send(in)
			p.want(p.rec(0).heard(), want)
		})
	}
}

// A message that equals the one before is made of its strings, and one that differs is not.
func TestNothingLeaksFromThePreviousMessage(t *testing.T) {
	serverTalk(t, Options{}, hello, func(p *peer) {
		for i, c := range []struct{ in, want string }{
			{"GET /1 HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\nTE: trailers\r\nConnection: b\r\n\r\n",
				":path=/1 a=1 te=trailers"},
			{"GET /1 HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\n\r\n", ":path=/1 a=1 b=2"},
			{"GET /1 HTTP/1.1\r\nB: 2\r\nA: 1\r\nHost: a\r\n\r\n", ":path=/1 b=2 a=1"},
			{"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n", ":path=/1"},
			{"GET /12 HTTP/1.1\r\nHost: a\r\nA: 12\r\nA: 1\r\n\r\n", ":path=/12 a=12 a=1"},
		} {
			p.send(c.in)
			p.want(p.rec(i).heard(), ":method=GET :scheme=http :authority=a "+c.want+" end")
		}
	})
}
