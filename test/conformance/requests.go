package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// answerWithin is how long a case may wait for a peer.
const answerWithin = 10 * time.Second

// request is an ambiguous HTTP/1 message, sent after a good one on the same connection: by then the
// proxy knows that it is HTTP, and a message that is taken for two has somewhere to put the second.
type request struct {
	name string
	send string
	want string   // the status of its answer
	took []string // the requests that the application saw; none of a refused message
	raw  string   // the bytes that the application saw, where they matter
}

const (
	warm    = "GET /warm HTTP/1.1\r\nHost: seen\r\n\r\n"
	post    = "POST /p HTTP/1.1\r\nHost: seen\r\n"
	get     = "GET /g HTTP/1.1\r\nHost: seen\r\n"
	chunked = post + "Transfer-Encoding: chunked\r\n\r\n"
	smuggle = "GET /smuggled HTTP/1.1\r\nHost: seen\r\n\r\n"
)

// ownID is what the inbound proxy says of the caller.
const ownID = "tulle-client-id: spiffe://cluster.local/ns/default/sa/caller\r\n"

// ownFrom is what it says of a caller without an identity.
const ownFrom = "x-forwarded-for: 127.0.0.1\r\nx-forwarded-proto: http\r\n"

func refused(name, send string) request { return request{name: name, send: send, want: "400"} }

func runRequests(ctx context.Context, m *mesh, r *report) error {
	cases := slices.Concat(framing(), syntax(), targets(), hosts(), chunkSyntax(), canonical())
	for _, side := range []struct{ name, addr string }{
		{"outbound", m.outbound("seen")}, {"inbound", m.inbound("seen")},
	} {
		for _, c := range cases {
			if err := c.check(m, r, side.name, side.addr); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c request) check(m *mesh, r *report, side, addr string) error {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(answerWithin))
	br := bufio.NewReader(nc)
	io.WriteString(nc, warm)
	if _, err := readAnswer(br, "GET"); err != nil {
		return fmt.Errorf("a good request by %s: %w", side, err)
	}
	m.seen.take()
	go io.WriteString(nc, c.send) // an answer may come before all is sent
	method, _, _ := strings.Cut(c.send, " ")
	got, raw, requests := c.conclude(m, nc, br, method)
	saw := "nothing"
	if len(requests) > 0 {
		saw = strings.Join(requests, ", ")
	}
	ok := got == c.outcome() && slices.Equal(requests, c.took) && (c.raw == "" || raw == c.raw) &&
		!strings.Contains(raw, "smuggled")
	name := side + " " + c.name
	if !ok {
		r.check(false, name, "%s, want %s; the application took %s of %q, want %v %q", got,
			c.outcome(), saw, raw, c.took, c.raw)
		return nil
	}
	r.check(true, name, "%s; the application took %s", got, saw)
	return nil
}

// outcome: whatever is refused ends its connection.
func (c request) outcome() string {
	if c.want[0] == '2' {
		return c.want
	}
	return c.want + ", closed"
}

// conclude reads the answer, and what follows it. The application has seen all of a connection that
// has ended.
func (c request) conclude(
	m *mesh, nc net.Conn, br *bufio.Reader, method string,
) (got, raw string, requests []string) {
	resp, err := readAnswer(br, method)
	if err != nil {
		got = err.Error()
	} else {
		got = fmt.Sprint(resp.StatusCode)
		if resp.Close {
			rest, err := io.ReadAll(br)
			got += ", closed"
			if len(rest) > 0 || err != nil {
				got = fmt.Sprintf("%s after %q, %v", got, rest, err)
			}
		}
	}
	raw, list := m.seen.take()
	for _, own := range []string{ownID, ownFrom} { // the headers that the proxy adds
		raw = strings.ReplaceAll(raw, own, "")
	}
	for _, t := range list {
		requests = append(requests, t.String())
	}
	return got, raw, requests
}

// readAnswer reads one final response and its body, which it keeps.
func readAnswer(br *bufio.Reader, method string) (*http.Response, error) {
	for {
		resp, err := http.ReadResponse(br, &http.Request{Method: method})
		if err != nil {
			return nil, err
		}
		if resp.StatusCode < 200 && resp.StatusCode != 101 {
			continue
		}
		if resp.StatusCode == 101 {
			return resp, nil
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body = io.NopCloser(bytes.NewReader(body))
		return resp, err
	}
}
