package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// message is an HTTP/2 request that must not be forwarded, or not in the form in which it came.
type message struct {
	name   string
	fields []string // instead of a good request's, or after them
	only   bool     // fields are all there are
	after  func(*rawH2) error
	want   string
	took   bool
}

const malformed = "RST_STREAM PROTOCOL_ERROR"

func goodFields() []string {
	return []string{":method=POST", ":scheme=http", ":path=/p", ":authority=seen"}
}

func runFrames(ctx context.Context, m *mesh, r *report) error {
	for _, side := range []struct{ name, addr string }{
		{"outbound", m.outbound("seen")}, {"inbound", m.inbound("seen")},
	} {
		for _, c := range messages() {
			if err := c.check(m, r, side.name, side.addr); err != nil {
				return err
			}
		}
	}
	return nil
}

// check sends the message, and a good one after it, which must be answered: one stream's error is
// no other's.
func (c message) check(m *mesh, r *report, side, addr string) error {
	conn, err := dialH2(addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	m.seen.take()
	fields := slices.Concat(goodFields(), c.fields)
	if c.only {
		fields = c.fields
	}
	if err := conn.headers(1, c.after == nil, fields...); err != nil {
		return err
	}
	if c.after != nil {
		if err := c.after(conn); err != nil {
			return err
		}
	}
	got := conn.outcome(1)
	err = conn.headers(3, true, ":method=GET", ":scheme=http", ":path=/next", ":authority=seen")
	if err != nil {
		return err
	}
	next := conn.outcome(3)
	_, requests := m.seen.take()
	took := len(requests) > 1 || len(requests) == 1 && requests[0].Target != "/next"
	what := map[bool]string{true: "took it", false: "saw nothing of it"}
	r.check(got == c.want && next == "200" && took == c.took, side+" "+c.name,
		"%s; the application %s; the next request: %s", got, what[took], next)
	return nil
}

func messages() []message {
	bad := func(name string, fields ...string) message {
		return message{name: name, fields: fields, want: malformed}
	}
	instead := func(name string, list ...string) message {
		return message{name: name, fields: list, only: true, want: malformed}
	}
	with := func(list []string, i int, f string) []string {
		list = slices.Clone(list)
		list[i] = f
		return list
	}
	good := goodFields()
	return slices.Concat([]message{
		bad("transfer-encoding", "transfer-encoding=chunked"),
		bad("connection", "connection=close"), bad("upgrade", "upgrade=h2c"),
		bad("keep-alive", "keep-alive=5"), bad("proxy-connection", "proxy-connection=close"),
		bad("te other than trailers", "te=gzip"),
		{name: "te: trailers", fields: []string{"te=trailers"}, want: "200", took: true},
		bad("content-length twice", "content-length=0", "content-length=0"),
		bad("content-length signed", "content-length=+0"),
		bad("content-length list", "content-length=0, 0"),
		bad("content-length without content", "content-length=5"),
		bad("CR in a value", "x-a=b\rc"), bad("LF in a value", "x-a=b\nc: d"),
		bad("CRLF in a value", "x-a=b\r\nc: d"), bad("NUL in a value", "x-a=b\x00c"),
		{name: "white space before a value", fields: []string{"x-a= b"}, want: "200", took: true},
		{name: "white space after a value", fields: []string{"x-a=b\t"}, want: "200", took: true},
		bad("upper case in a name", "X-A=b"), bad("colon in a name", "x:a=b"),
		bad("space in a name", "x a=b"), bad("LF in a name", "x\na=b"),
		bad("NUL in a name", "x\x00a=b"), bad("name beyond ASCII", "\xc3\xa4=b"),
		bad("pseudo-header after a field", "x-a=b", ":path=/smuggled"),
		bad("pseudo-header twice", ":path=/smuggled"),
		bad("pseudo-header of a response", ":status=200"), bad("unknown pseudo-header", ":x=y"),
		instead("no method", good[1:]...), instead("no scheme", good[0], good[2], good[3]),
		instead("no path", good[0], good[1], good[3]),
		instead("empty path", with(good, 2, ":path=")...),
		instead("path without a slash", with(good, 2, ":path=p")...),
		instead("space in the path", with(good, 2, ":path=/p HTTP/1.1")...),
		instead("CRLF in the path", with(good, 2, ":path=/p\r\nx: y")...),
		instead("fragment in the path", with(good, 2, ":path=/p#f")...),
		instead("space in the method", with(good, 0, ":method=GET /x")...),
		instead("CRLF in the method", with(good, 0, ":method=GET\r\n")...),
		instead("empty method", with(good, 0, ":method=")...),
		instead("user information in the authority", with(good, 3, ":authority=u@seen")...),
		instead("path in the authority", with(good, 3, ":authority=seen/x")...),
		instead("space in the authority", with(good, 3, ":authority=se en")...),
		instead("CRLF in the authority", with(good, 3, ":authority=a\r\nx: y")...),
		instead("space in the scheme", with(good, 1, ":scheme=ht tp")...),
		bad("host that differs from the authority", "host=other"),
		bad("host twice", "host=seen", "host=seen"),
		{name: "host that equals the authority", fields: []string{"host=seen"},
			want: "200", took: true},
	}, bodies(), oversize())
}

// bodies: what comes after the head.
func bodies() []message {
	body := func(name, length string, send func(*rawH2) error) message {
		m := message{name: name, want: malformed, after: send}
		if length != "" {
			m.fields = []string{"content-length=" + length}
		}
		return m
	}
	trailer := func(name string, fields ...string) message {
		return body("trailer "+name, "",
			func(c *rawH2) error { return c.headers(1, true, fields...) })
	}
	return []message{
		body("content-length above the data", "6",
			func(c *rawH2) error { return c.WriteData(1, true, []byte("hello")) }),
		body("content-length below the data", "4",
			func(c *rawH2) error { return c.WriteData(1, true, []byte("hello")) }),
		body("content-length with trailers, above the data", "6", func(c *rawH2) error {
			if err := c.WriteData(1, false, []byte("hello")); err != nil {
				return err
			}
			return c.headers(1, true, "x-a=b")
		}),
		trailer("pseudo-header", ":path=/smuggled"), trailer("content-length", "content-length=0"),
		trailer("transfer-encoding", "transfer-encoding=chunked"),
		trailer("connection", "connection=close"), trailer("host", "host=other"),
		body("trailers without END_STREAM", "",
			func(c *rawH2) error { return c.headers(1, false, "x-a=b") }),
		{name: "trailers", fields: []string{"content-length=5"}, want: "200", took: true,
			after: func(c *rawH2) error {
				if err := c.WriteData(1, false, []byte("hello")); err != nil {
					return err
				}
				return c.headers(1, true, "x-a=b")
			}},
	}
}

// oversize: the answer is 431, and the header compression stays in step: the next request is
// understood.
func oversize() []message {
	many := make([]string, 101)
	for i := range many {
		many[i] = fmt.Sprintf("x-%d=y", i)
	}
	large := slices.Repeat([]string{"x-a=" + strings.Repeat("x", 9<<10)}, 8)
	return []message{
		{name: "101 fields", fields: many, want: "431"},
		{name: "101 cookies", fields: slices.Repeat([]string{"cookie=a"}, 101),
			want: "200", took: true},
		{name: "101 fields of one name", fields: slices.Repeat([]string{"x-a=a"}, 101),
			want: "431"},
		{name: "72 KiB of fields", fields: large, want: "431"},
	}
}
