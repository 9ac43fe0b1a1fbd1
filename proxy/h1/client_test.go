package h1

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var getWords = []string{":method=GET", ":scheme=http", ":authority=a", ":path=/"}

const getLine = "GET / HTTP/1.1\r\nhost: a\r\n\r\n"

func TestClientKeepAlive(t *testing.T) {
	idle := 0
	clientTalk(t, Options{OnCapacity: func() { idle++ }}, func(p *peer) {
		for i := range 3 {
			r := p.open(true, getWords...)
			p.want(p.got(), getLine)
			if _, err := p.conn.OpenStream(fields(getWords...), true, r); err != ErrBusy {
				t.Errorf("second request: %v", err)
			}
			p.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n" +
				"Connection: keep-alive\r\n\r\nhi")
			p.want(r.heard(), `:status=200 content-length=2 x=y | data "hi" end`)
			if idle != i+1 || p.conn.Active() != 0 {
				t.Errorf("idle %d times, %d active", idle, p.conn.Active())
			}
		}
	})
}

func TestRequests(t *testing.T) {
	post := []string{":method=POST", ":scheme=http", ":authority=a", ":path=/"}
	for _, c := range []struct {
		name  string
		words []string
		end   bool
		body  []string
		want  string
	}{
		{"post without body", post, true, nil,
			"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"},
		{"post of known length", append(post, "content-length=3"), false, []string{"a", "bc"},
			"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc"},
		{"post of known length, trailers announced", append(post, "content-length=3", "trailer=t"),
			false, []string{"a", "bc"},
			"POST / HTTP/1.1\r\nhost: a\r\ntrailer: t\r\ntransfer-encoding: chunked\r\n\r\n" +
				"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"},
		{"post chunked", post, false, []string{"a", "bc"}, "POST / HTTP/1.1\r\nhost: a\r\n" +
			"transfer-encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"},
		{"get with body", getWords, false, []string{"a"},
			"GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"},
		{"cookies are joined", append(getWords, "cookie=a=1", "x=y", "cookie=b=2"), true, nil,
			"GET / HTTP/1.1\r\nhost: a\r\ncookie: a=1; b=2\r\nx: y\r\n\r\n"},
		{"te", append(getWords, "te=trailers"), true, nil,
			"GET / HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te\r\n\r\n"},
		{"no authority", []string{":method=GET", ":path=/"}, true, nil,
			"GET / HTTP/1.1\r\nhost: \r\n\r\n"},
		{"host for authority", []string{":method=GET", ":path=/", "host=b"}, true, nil,
			"GET / HTTP/1.1\r\nhost: b\r\n\r\n"},
		{"authority beats host", append(getWords, "host=b"), true, nil, getLine},
		{"connection fields are ours", append(getWords, "connection=x", "transfer-encoding=chunked",
			"keep-alive=1", "upgrade=x", "proxy-connection=z"), true, nil, getLine},
		{"absolute target", append(getWords, "absolute-target=1"), true, nil,
			"GET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n"},
		{"absolute target of a server", []string{":method=OPTIONS", ":scheme=https", ":authority=a",
			":path=*", "absolute-target=1"}, true, nil,
			"OPTIONS https://a HTTP/1.1\r\nhost: a\r\n\r\n"},
		{"options", []string{":method=OPTIONS", ":authority=a", ":path=*"}, true, nil,
			"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			clientTalk(t, Options{}, func(p *peer) {
				r := p.open(c.end, c.words...)
				for i, b := range c.body {
					r.stream.WriteData([]byte(b), i == len(c.body)-1)
				}
				r.stream.Flush()
				p.want(p.got(), c.want)
				p.send("HTTP/1.1 204 No Content\r\n\r\n")
				p.want(r.heard(), ":status=204 end")
				p.wantClosed(false)
				p.open(true, getWords...)
				p.want(p.got(), getLine)
			})
		})
	}
}

func TestRequestsRefused(t *testing.T) {
	for _, words := range [][]string{
		{":method=GET", ":path=nopath"},
		{":method=GET", ":path=/a b"},
		{":method=GET", ":path=/a#b"},
		{":method=GET", ":path=/\r\nx: y"},
		{":method=GET", ":path=*"},
		{":method=G ET", ":path=/"},
		{":method=CONNECT", ":authority=a:80", ":path=/"},
		{":method=CONNECT", ":protocol=a b", ":path=/"},
		{":method=CONNECT", ":protocol=h2c", ":path=/"},
		{":method=CONNECT", ":protocol=H2C", ":path=/"},
		{":method=CONNECT", ":protocol=h2c-14", ":path=/"},
		{":method=CONNECT", ":protocol=HTTP/2.0", ":path=/"},
		{":method=CONNECT", ":protocol=TLS/1.3", ":path=/"},
		{":method=CONNECT", ":authority=a:80", ":path=/", "content-length=0"},
		{":method=CONNECT", ":authority=a:80", "content-length=0"},
		{":method=CONNECT", ":authority=a b:80"},
		{":method=CONNECT"},
		{":method=HEAD", ":protocol=websocket", ":path=/"},
		{":method=GET", ":protocol=h2c", ":path=/"},
		{":method=GET", ":path=/", "absolute-target=1"},
		{":method=GET", ":authority=a", ":scheme=ftp", ":path=/", "absolute-target=1"},
		{":method=GET", ":authority=u@a", ":path=/"},
		{":method=GET", ":authority=a\r\nx: y", ":path=/"},
		{":method=GET", ":path=/", "a b=c"},
		{":method=GET", ":path=/", "A=c"},
		{":method=GET", ":path=/", "a=b\r\nc: d"},
		{":method=GET", ":path=/", "a=b\x00"},
		{":method=GET", ":path=/", ":late=x"},
		{":method=GET", ":path=/", "content-length=x"},
		{":method=GET", ":path=/", "content-length=1", "content-length=1"},
	} {
		clientTalk(t, Options{}, func(p *peer) {
			_, err := p.conn.OpenStream(fields(words...), true, &recorder{})
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%q: %v", words, err)
			}
			p.open(true, getWords...)
			p.want(p.got(), getLine)
		})
	}
}

func TestResponsesRead(t *testing.T) {
	head := []string{":method=HEAD", ":authority=a", ":path=/"}
	for _, c := range []struct {
		name, in, want string
		words          []string
		closed         bool
	}{
		{"informational", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: l\r\n\r\n" +
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			":status=100 | :status=103 link=l | :status=200 content-length=0 end", getWords, false},
		{"informational, with a length", "HTTP/1.1 100 C\r\nContent-Length: 0\r\n\r\n" +
			"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n",
			":status=100 | :status=999 content-length=0 end", getWords, false},
		{"many cookies", "HTTP/1.1 200 OK\r\n" + strings.Repeat("Set-Cookie: a\r\n", 150) +
			"Content-Length: 0\r\n\r\n",
			":status=200" + strings.Repeat(" set-cookie=a", 150) + " content-length=0 end",
			getWords, false},
		{"chunked with trailers", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"2\r\nhi\r\n0\r\nA: b\r\nCookie: c\r\n\r\n",
			`:status=200 | data "hi" | a=b end`, getWords, false},
		{"head", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", ":status=200 content-length=5 end",
			head, false},
		{"head, chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
			":status=200 end", head, false},
		{"304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
			":status=304 content-length=5 end", getWords, false},
		{"204 with a length", "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", ":status=204 end",
			getWords, false},
		{"204 with a body", "HTTP/1.1 204 No\r\nContent-Length: 2\r\n\r\n", ":status=204 end",
			getWords, true},
		{"no reason", "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
			":status=200 content-length=0 end", getWords, false},
		{"no reason, no space", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
			":status=200 content-length=0 end", getWords, false},
		{"close", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi",
			`:status=200 content-length=2 | data "hi" end`, getWords, true},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nhi",
			`:status=200 content-length=2 | data "hi" end`, getWords, true},
		{"connection names a field", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: y\r\nZ: 1\r\n" +
			"Connection: x, content-length\r\n\r\n",
			":status=200 content-length=0 z=1 end", getWords, false},
		{"extra bytes", "HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			":status=204 end", getWords, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			clientTalk(t, Options{}, func(p *peer) {
				r := p.open(true, c.words...)
				p.send(c.in)
				p.want(r.heard(), c.want)
				p.wantClosed(c.closed)
			})
		})
	}
}

func TestResponsesRefused(t *testing.T) {
	for _, in := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
		strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", maxInformational+1),
		"HTTP/1.1 20 OK\r\n\r\n",
		"HTTP/1.1 099 OK\r\n\r\n",
		"HTTP/1.1 2000 OK\r\n\r\n",
		"HTTP/1.1  200 OK\r\n\r\n",
		"HTTP/2.0 200 OK\r\n\r\n",
		"http/1.1 200 OK\r\n\r\n",
		"\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\n\n",
		"HTTP/1.1 200 O\rK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
		"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc", // and the end
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n",
		"HTTP/1.1 200 OK\r\nA: b\r\n",
		"", // never ErrStale: the connection is new
	} {
		clientTalk(t, Options{}, func(p *peer) {
			r := p.open(true, getWords...)
			p.send(in)
			p.nc.Close()
			synctest.Wait()
			h := r.heard()
			last := h[strings.LastIndex(h, "|")+1:]
			if !strings.HasPrefix(strings.TrimSpace(last), "reset ") ||
				strings.Contains(h, " end |") || strings.Contains(h, ErrStale.Error()) {
				t.Errorf("%q: heard %q", in, h)
			}
			if p.err == nil {
				t.Errorf("%q: Serve says nothing", in)
			}
		})
	}
}

func TestReadUntilClose(t *testing.T) {
	clientTalk(t, Options{}, func(p *peer) {
		r := p.open(true, getWords...)
		p.send("HTTP/1.0 200 OK\r\n\r\nabc")
		p.want(r.heard(), `:status=200 | data "abc"`)
		p.nc.Close()
		synctest.Wait()
		p.want(r.heard(), `:status=200 | data "abc" | data "" end`)
	})
}

func TestStale(t *testing.T) {
	clientTalk(t, Options{}, func(p *peer) {
		p.open(true, getWords...)
		p.send("HTTP/1.1 204 No\r\n\r\n")
		r := p.open(true, getWords...)
		p.got()
		p.nc.Close()
		synctest.Wait()
		p.want(r.heard(), "reset 2 "+ErrStale.Error())
	})
	clientTalk(t, Options{}, func(p *peer) {
		p.open(true, getWords...)
		p.send("HTTP/1.1 204 No\r\n\r\n")
		r := p.open(true, getWords...)
		p.send("HTTP/1.1 2")
		p.nc.Close()
		synctest.Wait()
		p.want(r.heard(), "reset 2 unexpected EOF")
	})
}

func TestServerCloses(t *testing.T) {
	clientTalk(t, Options{}, func(p *peer) {
		p.nc.Close()
		synctest.Wait()
		if _, err := p.conn.OpenStream(fields(getWords...), true, &recorder{}); err != ErrClosed {
			t.Errorf("OpenStream: %v", err)
		}
		if !p.over || p.err != nil {
			t.Errorf("Serve: %v %v", p.over, p.err)
		}
	})
}

func TestUnsolicited(t *testing.T) {
	clientTalk(t, Options{}, func(p *peer) {
		p.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		p.wantClosed(true)
		if !errors.Is(p.err, errUnsolicited) {
			t.Errorf("Serve: %v", p.err)
		}
	})
}

func TestClientEarlyResponse(t *testing.T) {
	again := func() { t.Error("connection offered again") }
	clientTalk(t, Options{OnCapacity: again}, func(p *peer) {
		r := p.open(false, ":method=POST", ":authority=a", ":path=/")
		p.send("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
		p.want(r.heard(), ":status=403 content-length=0 end")
		p.wantClosed(true)
		if n := r.stream.WriteData([]byte("abc"), true); n != 3 {
			t.Errorf("dead stream accepted %d", n)
		}
	})
}

func TestClientIdleTimeout(t *testing.T) {
	clientTalk(t, Options{IdleTimeout: time.Minute}, func(p *peer) {
		time.Sleep(50 * time.Second)
		r := p.open(true, getWords...)
		time.Sleep(5 * time.Minute)
		p.send("HTTP/1.1 204 No\r\n\r\n")
		p.want(r.heard(), ":status=204 end")
		time.Sleep(59 * time.Second)
		p.wantClosed(false)
		time.Sleep(2 * time.Second)
		p.wantClosed(true)
		if _, err := p.conn.OpenStream(fields(getWords...), true, r); err != ErrClosed {
			t.Errorf("OpenStream: %v", err)
		}
	})
}

func TestClientWindow(t *testing.T) {
	clientTalk(t, Options{StreamWindow: 100}, func(p *peer) {
		r := &recorder{hold: true}
		s, err := p.conn.OpenStream(fields(getWords...), true, r)
		if err != nil {
			t.Fatal(err)
		}
		s.Flush()
		p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n96\r\n" +
			strings.Repeat("x", 150) + "\r\n0\r\n\r\n")
		if len(r.body) != 100 {
			t.Errorf("%d bytes in a window of 100", len(r.body))
		}
		s.Consumed(100)
		synctest.Wait()
		if h := r.heard(); len(r.body) != 150 || !strings.HasSuffix(h, "end") {
			t.Errorf("heard %q", h)
		}
	})
}

func TestClientResetWhileParked(t *testing.T) {
	clientTalk(t, Options{StreamWindow: 10}, func(p *peer) {
		r := &recorder{hold: true}
		s, _ := p.conn.OpenStream(fields(getWords...), true, r)
		s.Flush()
		p.send("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n" + strings.Repeat("x", 50))
		s.Reset(codeCancel)
		p.wantClosed(true)
		if !p.over {
			t.Error("Serve goes on")
		}
	})
}

// The owner flushes in OnBatch what the last events made it write, also when the connection ends
// with them.
func TestLastBatch(t *testing.T) {
	for _, in := range []string{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
		"garbage\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"} {
		var r *recorder
		flushed := ""
		clientTalk(t, Options{OnBatch: func() {
			if r != nil {
				flushed = r.heard()
			}
		}}, func(p *peer) {
			r = p.open(true, getWords...)
			p.send(in)
			p.nc.Close()
			synctest.Wait()
			p.want(flushed, r.heard())
		})
	}
}

// What may be in a tunnel is held back until the server has agreed to it. A server that answers
// CONNECT as it would another method is no proxy, and reads on.
func TestTunnelsOpened(t *testing.T) {
	connect := []string{":method=CONNECT", ":authority=b:443", "a=b"}
	connected := "CONNECT b:443 HTTP/1.1\r\nhost: b:443\r\na: b\r\n\r\n"
	post := []string{":method=POST", ":protocol=x", ":scheme=http", ":authority=a", ":path=/"}
	posted := "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\nupgrade: x\r\n" +
		"connection: upgrade\r\n\r\n"
	for _, c := range []struct {
		words             []string
		sent, answer, own string
		open              bool
	}{
		{connect, connected, "HTTP/1.1 200 Connected\r\nA: b\r\n\r\nyes",
			`:status=200 a=b | data "yes"`, true},
		{connect, connected, "HTTP/1.0 200 OK\r\n\r\nyes", `:status=200 | data "yes"`, true},
		{connect, connected, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			"reset 1 h1: " + errTunnelFramed.Reason, false},
		{connect, connected, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			"reset 1 h1: " + errTunnelFramed.Reason, false},
		{connect, connected, "HTTP/1.1 204 No Content\r\n\r\n",
			"reset 1 h1: " + errTunnelFramed.Reason, false},
		{connect, connected, "HTTP/1.1 101 S\r\n\r\n", "reset 1 h1: " + errSwitch.Reason, false},
		{connect, connected, "HTTP/1.1 407 P\r\nContent-Length: 0\r\n\r\n",
			":status=407 content-length=0 end", false},
		{post, posted, "HTTP/1.1 101 S\r\n\r\nyes", `:status=200 | data "yes"`, true},
		{post, posted, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
			":status=200 content-length=0 upgrade-declined=1 end", false},
	} {
		clientTalk(t, Options{}, func(p *peer) {
			r := p.open(false, c.words...)
			r.stream.WriteData([]byte("hasty"), false)
			p.want(p.got(), c.sent)
			p.send(c.answer)
			p.want(r.heard(), c.own)
			want := ""
			if c.open {
				want = "hasty"
			}
			p.want(p.got(), want)
		})
	}
}
