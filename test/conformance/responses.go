package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// response is what a server says, and what the caller is to hear. A connection whose end is in
// doubt is never used again.
type response struct {
	name   string
	method string // GET without
	send   string
	closes bool
	want   string // status and body as the caller reads them; "cut": it began and did not end
	kept   bool   // the server's connection serves the next request
}

func runResponses(ctx context.Context, m *mesh, r *report) error {
	for _, c := range responses() {
		if err := c.check(m, r); err != nil {
			return err
		}
	}
	return nil
}

func (c response) check(m *mesh, r *report) error {
	m.wild.set(wildAnswer{c.send, c.closes})
	got, err := ask(m.outbound("wild"), cmp.Or(c.method, "GET"), "/case")
	if err != nil {
		return err
	}
	next, err := ask(m.outbound("wild"), "GET", "/good")
	if err != nil {
		return err
	}
	kept := m.wild.oneConnection()
	use := map[bool]string{true: "kept", false: "discarded"}
	r.check(got == c.want && next == "200 good" && kept == c.kept, c.name,
		"%s, connection %s (want %s, %s)%s", got, use[kept], c.want, use[c.kept], unlessGood(next))
	return nil
}

func unlessGood(next string) string {
	if next == "200 good" {
		return ""
	}
	return "; the next request: " + next
}

// ask is a request of its own connection: the status and the body, or that it was cut short. An
// error of ours is a body too long to show.
func ask(addr, method, path string) (string, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(answerWithin))
	fmt.Fprintf(nc, "%s %s HTTP/1.1\r\nHost: a\r\n", method, path)
	if method == "POST" {
		io.WriteString(nc, "Content-Length: 5\r\n\r\nhello")
	} else {
		io.WriteString(nc, "\r\n")
	}
	resp, err := readAnswer(bufio.NewReader(nc), method)
	if err != nil {
		return "cut", nil
	}
	body, _ := io.ReadAll(resp.Body) // from memory
	if resp.StatusCode == 502 {
		return "502", nil
	}
	trailer := ""
	for name, v := range resp.Trailer {
		trailer += " " + name + "=" + strings.Join(v, ",")
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s%s", resp.StatusCode, body, trailer)), nil
}

const (
	okHead = "HTTP/1.1 200 OK\r\n"
	second = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled"
)

func responses() []response { return append(unreadable(), readable()...) }

// unreadable responses are not begun to be passed on.
func unreadable() []response {
	const ok = okHead
	bad := func(name, send string) response { return response{name: name, send: send, want: "502"} }
	return []response{
		bad("content-length twice, different",
			ok+"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!"),
		bad("content-length twice, the same",
			ok+"Content-Length: 2\r\nContent-Length: 2\r\n\r\nhi"),
		bad("content-length list", ok+"Content-Length: 2, 2\r\n\r\nhi"),
		bad("content-length signed", ok+"Content-Length: +2\r\n\r\nhi"),
		bad("content-length and transfer-encoding",
			ok+"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
		bad("transfer-encoding gzip, chunked",
			ok+"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
		bad("transfer-encoding twice",
			ok+"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
		bad("transfer-encoding in HTTP/1.0",
			"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
		bad("100 with a length", "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello"+second),
		bad("101 nobody asked for",
			"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
		bad("17 informational responses",
			strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 17)+second),
		bad("status of two digits", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n"),
		bad("status of four digits", "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n"),
		bad("status 099", "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n"),
		bad("version HTTP/2.0", "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
		bad("no HTTP at all", "SSH-2.0-OpenSSH\r\n\r\n\r\n"),
		bad("folded header", ok+"A: b\r\n c\r\nContent-Length: 0\r\n\r\n"),
		bad("space before the colon", ok+"Content-Length : 0\r\n\r\n"),
		bad("bare LF", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
		bad("NUL in a value", ok+"A: \x00\r\nContent-Length: 0\r\n\r\n"),
		bad("bare CR in a value", ok+"A: b\rContent-Length: 9\r\nContent-Length: 0\r\n\r\n"),
		bad("101 headers", ok+strings.Repeat("A: b\r\n", 101)+"Content-Length: 0\r\n\r\n"),
		bad("header of 90 KiB", ok+"A: "+strings.Repeat("x", 90<<10)+"\r\n\r\n"),
		{name: "nothing", closes: true, want: "502"},
		{name: "half a head", send: "HTTP/1.1 200 OK\r\nConte", closes: true, want: "502"},
	}
}

// readable responses have good heads, whatever comes after.
func readable() []response {
	const ok = okHead
	return []response{
		{name: "body shorter than its length", send: ok + "Content-Length: 9\r\n\r\nhi",
			closes: true, want: "cut"},
		{name: "chunks that do not end", send: ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
			closes: true, want: "cut"},
		{name: "chunk size 0x2",
			send: ok + "Transfer-Encoding: chunked\r\n\r\n0x2\r\nhi\r\n0\r\n\r\n", want: "cut"},
		{name: "chunk without CRLF",
			send: ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi0\r\n\r\n", want: "cut"},
		{name: "trailer content-length", send: ok + "Transfer-Encoding: chunked\r\n\r\n2\r\n" +
			"hi\r\n0\r\nContent-Length: 9\r\n\r\n", want: "cut"},
		{name: "a second response at once", send: wildGood + second, want: "200 good"},
		{name: "body of a HEAD", method: "HEAD", send: wildGood, want: "200"},
		{name: "body of a 204",
			send: "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\ngood", want: "204"},
		{name: "body of a 304",
			send: "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\ngood", want: "304"},
		{name: "chunked with a trailer", send: ok + "Transfer-Encoding: chunked\r\n\r\n2\r\n" +
			"hi\r\n0\r\nX-End: 1\r\n\r\n", want: "200 hi X-End=1", kept: true},
		{name: "until the connection's end", send: ok + "\r\nhello", closes: true,
			want: "200 hello"},
		{name: "HTTP/1.0 until the connection's end", send: "HTTP/1.0 200 OK\r\n\r\nhello",
			closes: true, want: "200 hello"},
		{name: "HTTP/1.0 keep-alive is not believed", send: "HTTP/1.0 200 OK\r\n" +
			"Connection: keep-alive\r\nContent-Length: 2\r\n\r\nhi", want: "200 hi"},
		{name: "100, 103 and then 200", send: "HTTP/1.1 100 Continue\r\n\r\n" +
			"HTTP/1.1 103 Early Hints\r\nLink: l\r\n\r\n" + wildGood, want: "200 good", kept: true},
		{name: "304 with a length", send: "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
			want: "304", kept: true},
		{name: "HEAD with a length", method: "HEAD", send: ok + "Content-Length: 99\r\n\r\n",
			want: "200", kept: true},
		{name: "HEAD with a coding", method: "HEAD",
			send: ok + "Transfer-Encoding: chunked\r\n\r\n", want: "200", kept: true},
		{name: "no reason phrase", send: "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi",
			want: "200 hi", kept: true},
		{name: "Connection: close",
			send: ok + "Connection: close\r\nContent-Length: 2\r\n\r\nhi", want: "200 hi"},
	}
}
