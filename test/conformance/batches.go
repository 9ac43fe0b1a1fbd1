package main

import (
	"fmt"
	"strings"
)

func headersOf(pairs ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = "[" + pairs[i+1] + "]"
	}
	return m
}

func plain(method, target string) sent { return sent{method: method, target: target} }

// with is a request of this body, whichever way it was framed.
func (s sent) with(headers, framed, body string) sent {
	s.headers, s.body, s.saw.Length, s.saw.Sum = s.headers+headers, framed, len(body), body
	return s
}

func (s sent) length(body string) sent {
	return s.with(fmt.Sprintf("Content-Length: %d\r\n", len(body)), body, body)
}

// chunked cuts the body into chunks of n bytes.
func (s sent) chunked(n int, body string) sent {
	var b strings.Builder
	for rest := body; len(rest) > 0; {
		m := min(n, len(rest))
		fmt.Fprintf(&b, "%x;e=\"1\"\r\n%s\r\n", m, rest[:m])
		rest = rest[m:]
	}
	return s.with("Transfer-Encoding: chunked\r\n", b.String()+"0\r\n\r\n", body)
}

func (s sent) head(lines string, seen map[string]string) sent {
	s.headers, s.saw.Headers = s.headers+lines, seen
	return s
}

func (s sent) answered(status int) sent {
	s.status = status
	return s
}

func batches() []batch {
	body := strings.Repeat("0123456789abcdef", 4<<10) // more than a window
	like := "GET /smuggled HTTP/1.1\r\nHost: origin\r\nX-Id: smuggled\r\n\r\n"
	post, put := plain("POST", "/p"), plain("PUT", "/q")
	trailing := post.with("Transfer-Encoding: chunked\r\nTrailer: X-Tend\r\n",
		"5\r\nhello\r\n0\r\nX-Tend: 1\r\n\r\n", "hello")
	trailing.saw.Trailers = headersOf("X-Tend", "1")
	early := sent{method: "POST", target: "/early", status: 403, early: true}
	return append([]batch{
		{name: "pipelined GETs", list: []sent{plain("GET", "/1"), plain("GET", "/2?a=b&c"),
			plain("GET", "/3"), plain("DELETE", "/4"), plain("GET", "/5")}},
		{name: "pipelined bodies", list: []sent{post.length("hello"),
			put.chunked(3, "hello, world"), post.length(""), post.chunked(1, ""),
			plain("GET", "/g"), put.length(like), post.chunked(7, like), plain("GET", "/end")}},
		{name: "large bodies", list: []sent{post.length(body), put.chunked(1000, body),
			post.chunked(len(body), body), plain("GET", "/end")}},
		{name: "byte by byte", slow: true,
			list: []sent{post.chunked(2, "hello"), put.length("hello"), plain("GET", "/end")}},
		{name: "bodies of GET and DELETE", list: []sent{
			plain("GET", "/g").length("hello"), plain("DELETE", "/d").chunked(2, "hello"),
			plain("GET", "/g").length(like), plain("GET", "/end"),
		}},
		{name: "HEAD, 204 and 304",
			list: []sent{plain("HEAD", "/h"), plain("GET", "/204").answered(204),
				plain("GET", "/304").answered(304), plain("HEAD", "/304").answered(304),
				plain("POST", "/204").length("hello").answered(204), plain("GET", "/end")}},
		{name: "103 before the response", list: []sent{plain("GET", "/103"), plain("GET", "/end")}},
		{name: "Expect: 100-continue", list: []sent{
			post.length("hello").head("Expect: 100-continue\r\n", nil),
			put.chunked(2, "hello").head("Expect: 100-continue\r\n", nil), plain("GET", "/end"),
		}},
		{name: "responses of unknown length",
			list: []sent{plain("GET", "/unknown-length"), plain("HEAD", "/unknown-length"),
				plain("GET", "/unknown-length"), plain("GET", "/end")}},
		{name: "trailers of a response", trailers: true, list: []sent{
			{method: "GET", target: "/trailers", headers: "TE: trailers\r\nConnection: TE\r\n",
				trailer: "end"}, plain("GET", "/end"),
		}},
		{name: "trailers of a request", trailers: true,
			list: []sent{trailing, plain("GET", "/end")}},
		{name: "an early response", early: true,
			list: []sent{plain("GET", "/1"), early.length("hello"), plain("GET", "/end")}},
		{name: "an early response to a large body", early: true, list: []sent{
			plain("GET", "/1"), early.length(strings.Repeat(body, 40)), plain("GET", "/end"),
		}},
		{name: "HTTP/1.0", http10: true, list: []sent{post.length("hello")}},
		{name: "HTTP/1.0 of unknown length", http10: true,
			list: []sent{plain("GET", "/unknown-length")}},
	}, heads()...)
}

// heads are batches whose headers or targets have many forms.
func heads() []batch {
	return []batch{
		{name: "header white space", list: []sent{
			plain("GET", "/1").head("X-Ta:1\r\nX-Tb: \t 2 3\t \r\nX-Tc:\r\nx-td:  a\t\tb\r\n",
				headersOf("X-Ta", "1", "X-Tb", "2 3", "X-Tc", "", "X-Td", "a\t\tb")),
			plain("GET", "/end")}},
		{name: "headers in many forms", list: []sent{
			plain("GET", "/1").head(
				"X-Ta: 1\r\nX-Ta: 2\r\nX-Tb: a, b,, c\r\nX-Tc: \"q;\\\"\"; x=:\r\n",
				map[string]string{"X-Ta": "[1][2]", "X-Tb": "[a, b,, c]",
					"X-Tc": "[\"q;\\\"\"; x=:]"}),
			plain("GET", "/end")}},
		{name: "headers that Connection names", list: []sent{
			plain("GET", "/1").head("X-Ta: 1\r\nX-Tb: 2\r\nConnection: X-Ta, keep-alive\r\n"+
				"Keep-Alive: timeout=5\r\n", headersOf("X-Tb", "2")),
			plain("GET", "/end")}},
		{name: "targets", list: []sent{plain("GET", "/a//b"), plain("GET", "/a%2Fb"),
			plain("GET", "/a;b=c?d=%20&e=/../f"), plain("GET", "/%E2%82%AC?%0d%0a"),
			plain("GET", "http://origin/abs"), plain("GET", "/end")}},
		{name: "a target of 8,000 bytes",
			list: []sent{plain("GET", "/"+strings.Repeat("x", 8000)), plain("GET", "/end")}},
	}
}
