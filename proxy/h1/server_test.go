package h1

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
const getFields = ":method=GET :scheme=http :authority=a :path=/"

func TestKeepAlive(t *testing.T) {
	serverTalk(t, Options{}, hello, func(p *peer) {
		for range 3 {
			p.send("GET /x?y HTTP/1.1\r\nHost: a:80\r\nX-Y:  z \r\nCookie: c=1\r\n\r\n")
			p.want(p.got(), helloText)
		}
		p.want(p.rec(2).heard(),
			":method=GET :scheme=http :authority=a:80 :path=/x?y x-y=z cookie=c=1 end")
		p.wantClosed(false)
	})
}

func TestByteByByte(t *testing.T) {
	serverTalk(t, Options{}, hello, func(p *peer) {
		in := "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
			"3;x=y\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\nT: v\r\n\r\n" + get
		for i := range len(in) {
			p.send(in[i : i+1])
		}
		p.want(string(p.rec(0).body), "abc0123456789abcdef")
		if h := p.rec(0).heard(); !strings.HasSuffix(h, "| t=v end") {
			t.Errorf("heard %q", h)
		}
		p.want(p.rec(1).heard(), getFields+" end")
		p.want(p.got(), helloText+helloText)
	})
}

func TestBodies(t *testing.T) {
	serverTalk(t, Options{}, hello, func(p *peer) {
		p.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 004\r\n\r\nabcd")
		p.want(p.rec(0).heard(),
			":method=POST :scheme=http :authority=a :path=/ content-length=4 | data \"abcd\" end")
		p.send("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
		p.want(p.rec(1).heard(),
			":method=PUT :scheme=http :authority=a :path=/ content-length=0 end")
		p.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n" +
			"2\r\nhi\r\n0\r\n\r\n")
		p.want(p.rec(2).heard(),
			":method=PUT :scheme=http :authority=a :path=/ | data \"hi\" | data \"\" end")
	})
}

func TestPipelining(t *testing.T) {
	serverTalk(t, Options{}, nil, func(p *peer) {
		p.send(strings.Repeat(get, 3))
		if n := p.requests(); n != 1 {
			t.Fatalf("%d requests before the first response", n)
		}
		for i := range 3 {
			hello(p.rec(i), true)
			p.rec(i).stream.Flush()
			p.want(p.got(), helloText)
			if n := p.requests(); n != min(i+2, 3) {
				t.Fatalf("%d requests after response %d", n, i)
			}
		}
	})
}

// More pipelined input than is read ahead: the reader sleeps on the channel and not in Fill.
func TestPipelineFull(t *testing.T) {
	serverTalk(t, Options{}, nil, func(p *peer) {
		n := 3 * maxPipelined / len(get)
		p.send(strings.Repeat(get, n))
		for i := range n {
			hello(p.rec(i), true)
			p.rec(i).stream.Flush()
		}
		p.want(p.got(), strings.Repeat(helloText, n))
	})
}

func TestClientLeaves(t *testing.T) {
	for name, in := range map[string]string{"waiting": get, "pipelined": get + get,
		"partial": get + "GET"} {
		t.Run(name, func(t *testing.T) {
			serverTalk(t, Options{}, nil, func(p *peer) {
				p.send(in)
				p.nc.Close()
				time.Sleep(defaultHalfClosed)
				p.want(p.rec(0).heard(), getFields+" end | reset 8 h1: client went away")
			})
		})
	}
	serverTalk(t, Options{}, nil, func(p *peer) {
		p.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
		p.nc.Close()
		if h := p.rec(0).heard(); !strings.HasSuffix(h, `data "abc" | reset 8 unexpected EOF`) {
			t.Errorf("heard %q", h)
		}
	})
}

func TestResponses(t *testing.T) {
	post := "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx"
	head := "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, c := range []struct {
		name, in string
		act      func(*Stream)
		want     string
		closed   bool
	}{
		{"chunked", get, func(s *Stream) {
			s.WriteHeaders(fields(":status=200", "x=y"), false)
			s.WriteData([]byte("abc"), false)
			s.WriteData(nil, false)
			s.WriteData([]byte("0123456789abcdef"), true)
		}, "HTTP/1.1 200 OK\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n" +
			"3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n", false},
		{"trailers", get, func(s *Stream) {
			s.WriteHeaders(fields(":status=200"), false)
			s.WriteHeaders(fields("grpc-status=0", "content-length=3"), true)
		}, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" +
			"0\r\ngrpc-status: 0\r\n\r\n", false},
		{"trailers with a length are dropped", get, func(s *Stream) {
			s.WriteHeaders(fields(":status=200", "content-length=1"), false)
			s.WriteData([]byte("a"), false)
			s.WriteHeaders(fields("t=v"), true)
		}, "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na", false},
		{"announced, they outweigh the length", get, func(s *Stream) {
			s.WriteHeaders(fields(":status=200", "content-length=1", "trailer=t"), false)
			s.WriteData([]byte("a"), false)
			s.WriteHeaders(fields("t=v"), true)
		}, "HTTP/1.1 200 OK\r\ntrailer: t\r\ntransfer-encoding: chunked\r\n\r\n" +
			"1\r\na\r\n0\r\nt: v\r\n\r\n", false},
		{"announced to HTTP/1.0, they do not", "GET / HTTP/1.0\r\n\r\n", func(s *Stream) {
			s.WriteHeaders(fields(":status=200", "content-length=1", "trailer=t"), false)
			s.WriteData([]byte("a"), false)
			s.WriteHeaders(fields("t=v"), true)
		}, "HTTP/1.1 200 OK\r\ntrailer: t\r\ncontent-length: 1\r\n" +
			"connection: close\r\n\r\na", true},
		{"announced of nothing", get, func(s *Stream) {
			s.WriteHeaders(fields(":status=200", "content-length=0", "trailer=t"), true)
		}, "HTTP/1.1 200 OK\r\ntrailer: t\r\ncontent-length: 0\r\n\r\n", false},
		{"empty", get, func(s *Stream) { s.WriteHeaders(fields(":status=404"), true) },
			"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", false},
		{"unknown status", get, func(s *Stream) { s.WriteHeaders(fields(":status=299"), true) },
			"HTTP/1.1 299 \r\ncontent-length: 0\r\n\r\n", false},
		{"204", get, func(s *Stream) {
			s.WriteHeaders(fields(":status=204", "content-length=0"), true)
		}, "HTTP/1.1 204 No Content\r\n\r\n", false},
		{"304", get, func(s *Stream) {
			s.WriteHeaders(fields(":status=304", "content-length=9", "etag=e"), false)
			s.WriteData(nil, true)
		}, "HTTP/1.1 304 Not Modified\r\netag: e\r\ncontent-length: 9\r\n\r\n", false},
		{"head", head, func(s *Stream) {
			s.WriteHeaders(fields(":status=200", "content-length=5"), false)
			s.WriteData([]byte("hello"), true)
		}, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", false},
		{"head without length", head, func(s *Stream) {
			s.WriteHeaders(fields(":status=200"), true)
		}, "HTTP/1.1 200 OK\r\n\r\n", false},
		{"informational", post, func(s *Stream) {
			s.WriteHeaders(fields(":status=100"), false)
			s.WriteHeaders(fields(":status=103", "link=l"), false)
			s.WriteHeaders(fields(":status=200"), true)
		}, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: l\r\n\r\n" +
			"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", false},
		{"connection fields are ours", get, func(s *Stream) {
			s.WriteHeaders(fields(":status=200", "connection=x", "keep-alive=y",
				"transfer-encoding=gzip", "upgrade=z", "set-cookie=a", "set-cookie=b"), true)
		}, "HTTP/1.1 200 OK\r\nset-cookie: a\r\nset-cookie: b\r\ncontent-length: 0\r\n\r\n", false},
		{"asked to close", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n",
			func(s *Stream) { s.WriteHeaders(fields(":status=200"), true) },
			"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", true},
		{"HTTP/1.0", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", func(s *Stream) {
			s.WriteHeaders(fields(":status=103"), false)
			s.WriteHeaders(fields(":status=200"), false)
			s.WriteData([]byte("abc"), false)
			s.WriteHeaders(fields("t=v"), true)
		}, "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc", true},
		{"split by CR", get, func(s *Stream) {
			s.WriteHeaders(fields(":status=200", "x=a\r\nb: c"), true)
		}, "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/plain; charset=utf-8\r\n" +
			"content-length: 41\r\nconnection: close\r\n\r\n" +
			"response cannot be written as HTTP/1.1\n", true},
		{"too little", get, func(s *Stream) {
			s.WriteHeaders(fields(":status=200", "content-length=5"), false)
			s.WriteData([]byte("abc"), true)
		}, "", true},
		{"too much", get, func(s *Stream) {
			s.WriteHeaders(fields(":status=200", "content-length=2"), false)
			s.WriteData([]byte("abc"), true)
		}, "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			act := func(r *recorder, end bool) {
				if end {
					c.act(r.stream)
				}
			}
			serverTalk(t, Options{}, act, func(p *peer) {
				p.send(c.in)
				want := strings.Replace(c.want, "content-length: 41", "content-length: 39", 1)
				p.want(p.got(), want)
				p.wantClosed(c.closed)
			})
		})
	}
}

func TestEarlyResponse(t *testing.T) {
	act := func(r *recorder, end bool) { r.stream.WriteHeaders(fields(":status=413"), true) }
	serverTalk(t, Options{}, act, func(p *peer) {
		p.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
		p.want(p.got(),
			"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
		p.send("GET / HTTP/1.1\r\nHost: smuggled\r\n\r\n")
		if p.requests() != 1 {
			t.Error("body was taken for a request")
		}
		p.wantClosed(true)
	})
}

// What will close the connection says so where it is known by then (RFC 9112 §9.6): a response that
// is over before its request, and an error, after which the client has no use for the rest. Else
// there may be time for the request to end.
func TestEarlyResponseSaysClose(t *testing.T) {
	for _, c := range []struct {
		name    string
		head    []string
		body    string
		closing bool
	}{
		{"an error with a body", []string{":status=413", "content-length=3"}, "big", true},
		{"an error of unknown length", []string{":status=500"}, "big", true},
		{"nothing can follow", []string{":status=204"}, "", true},
		{"nothing does follow", []string{":status=200", "content-length=0"}, "", true},
		{"more follows", []string{":status=200", "content-length=3"}, "abc", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			serverTalk(t, Options{}, nil, func(p *peer) {
				p.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
				s := p.rec(0).stream
				s.WriteHeaders(fields(c.head...), false)
				s.Flush()
				if got := p.got(); strings.Contains(got, "connection: close\r\n") != c.closing {
					t.Errorf("%q", got)
				}
				p.send("cd")
				s.WriteData([]byte(c.body), true)
				s.Flush()
				p.wantClosed(c.closing)
			})
		})
	}
}

// The reader sleeps in Fill, in the middle of a body, when another goroutine answers early.
func TestEarlyResponseWakes(t *testing.T) {
	serverTalk(t, Options{}, nil, func(p *peer) {
		p.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc")
		p.rec(0).stream.WriteHeaders(fields(":status=413"), true)
		p.rec(0).stream.Flush()
		p.wantClosed(true)
	})
}

func TestRequestWindow(t *testing.T) {
	hold := func(r *recorder, end bool) { r.hold = true }
	serverTalk(t, Options{StreamWindow: 100}, hold, func(p *peer) {
		p.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 250\r\n\r\n" +
			strings.Repeat("x", 250))
		for i, want := range []int{100, 100, 200, 250} {
			if n := len(p.rec(0).body); n != want {
				t.Fatalf("step %d: %d bytes, want %d", i, n, want)
			}
			p.rec(0).stream.Consumed([]int{49, 51, 100, 0}[i])
			synctest.Wait()
		}
	})
}

// An informational response leaves though the response before it fills the output; but a peer that
// reads nothing is not sent ever more of them. The 100 that it may be waiting for is.
func TestInformationalIntoAFullOutput(t *testing.T) {
	serverTalk(t, Options{MaxOutput: 1000}, nil, func(p *peer) {
		p.nc.Write([]byte(get + "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n" +
			"Expect: 100-continue\r\n\r\n"))
		s := p.rec(0).stream
		s.WriteHeaders(fields(":status=200", "content-length=900"), false)
		s.WriteData(make([]byte, 900), true)
		s = p.rec(1).stream
		s.WriteHeaders(fields(":status=103", "x="+strings.Repeat("x", 100)), false)
		for range 1000 {
			s.WriteHeaders(fields(":status=102"), false)
		}
		s.WriteHeaders(fields(":status=100"), false)
		s.WriteHeaders(fields(":status=100"), false)
		s.WriteHeaders(fields(":status=200"), true)
		s.Flush()
		got := p.got()
		count := func(code string) int { return strings.Count(got, "HTTP/1.1 "+code) }
		if count("103") != 1 || count("102") == 0 || count("102") == 1000 || count("100") != 1 ||
			count("200") != 2 {
			t.Errorf("103: %d, 102: %d, 100: %d, 200: %d",
				count("103"), count("102"), count("100"), count("200"))
		}
	})
}

func TestResponseKept(t *testing.T) {
	serverTalk(t, Options{MaxOutput: 1000}, nil, func(p *peer) {
		p.nc.Write([]byte(get))
		s := p.rec(0).stream
		s.WriteHeaders(fields(":status=200", "content-length=5000"), false)
		n := s.WriteData(make([]byte, 5000), true)
		if n >= 1000 || n == 0 {
			t.Errorf("accepted %d", n)
		}
		s.Flush()
		if got := len(p.got()); got != 5000+len("HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n") {
			t.Errorf("got %d bytes", got)
		}
		if p.rec(0).sent+n != 5000 {
			t.Errorf("accepted %d, sent %d", n, p.rec(0).sent)
		}
		p.send(get) // and the exchange was over
		if p.requests() != 2 {
			t.Error("connection is stuck")
		}
	})
}

func TestReset(t *testing.T) {
	serverTalk(t, Options{}, nil, func(p *peer) {
		p.send(get)
		p.rec(0).stream.Reset(codeCancel)
		p.wantClosed(true)
		p.want(p.rec(0).heard(), getFields+" end")
		if n := p.rec(0).stream.WriteData([]byte("abc"), true); n != 3 {
			t.Errorf("dead stream accepted %d", n)
		}
	})
}

func TestHeaderTimeout(t *testing.T) {
	o := Options{HeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	serverTalk(t, o, hello, func(p *peer) {
		p.send(get)
		p.got()
		time.Sleep(30 * time.Second)
		p.send("GET / HTTP/1.1\r\n")
		time.Sleep(9 * time.Second)
		p.send("Host: a\r\n")
		p.wantClosed(false)
		time.Sleep(2 * time.Second)
		if s := p.got(); !strings.HasPrefix(s, "HTTP/1.1 408 ") {
			t.Errorf("got %q", s)
		}
		p.wantClosed(true)
	})
}

func TestIdleTimeout(t *testing.T) {
	serverTalk(t, Options{IdleTimeout: time.Minute}, nil, func(p *peer) {
		time.Sleep(50 * time.Second)
		p.send(get)
		time.Sleep(10 * time.Minute) // an exchange is not idle
		hello(p.rec(0), true)
		p.rec(0).stream.Flush()
		p.want(p.got(), helloText)
		time.Sleep(59 * time.Second)
		p.wantClosed(false)
		time.Sleep(2 * time.Second)
		p.wantClosed(true)
		if p.err != nil {
			t.Errorf("Serve: %v", p.err)
		}
	})
}

func TestGoAway(t *testing.T) {
	serverTalk(t, Options{}, nil, func(p *peer) {
		p.send(get)
		p.conn.GoAway()
		hello(p.rec(0), true)
		p.rec(0).stream.Flush()
		p.want(p.got(), "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello")
		p.wantClosed(true)
	})
	serverTalk(t, Options{}, nil, func(p *peer) {
		p.conn.GoAway()
		p.wantClosed(true)
	})
	serverTalk(t, Options{}, hello, func(p *peer) {
		p.send("GET / HTTP/1.1\r\n")
		p.conn.GoAway()
		p.send("Host: a\r\n\r\n")
		if s := p.got(); !strings.Contains(s, "connection: close") {
			t.Errorf("got %q", s)
		}
		p.wantClosed(true)
	})
}

// Each head has its own time: a pipelined one does not inherit what the one before has used.
func TestHeaderTimeoutOfTheNext(t *testing.T) {
	serverTalk(t, Options{HeaderTimeout: 10 * time.Second}, hello, func(p *peer) {
		p.send("GET / HTTP/1.1\r\n")
		time.Sleep(9 * time.Second)
		p.send("Host: a\r\n\r\nGET / ")
		time.Sleep(9 * time.Second)
		p.send("HTTP/1.1\r\nHost: a\r\n\r\n")
		p.want(p.got(), helloText+helloText)
		p.wantClosed(false)
	})
}

// What a client says in a tunnel before that is open is no request, if it does not open.
func TestNothingInATunnelIsARequest(t *testing.T) {
	connect := "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"
	for _, c := range []struct {
		in, status string
		requests   int
		closed     bool
	}{
		{connect + get, "403", 1, true},
		{connect, "403", 1, true},
		{connect + get, "407", 1, true},
		{connect, "407", 2, false}, // what comes after the answer is
	} {
		refuse := func(r *recorder, _ bool) {
			r.stream.WriteHeaders(fields(":status="+c.status), true)
		}
		serverTalk(t, Options{}, refuse, func(p *peer) {
			p.send(c.in)
			if !c.closed {
				p.send(connect)
			}
			time.Sleep(time.Minute)
			if n := p.requests(); n != c.requests {
				t.Errorf("%q, %s: %d requests, want %d", c.in, c.status, n, c.requests)
			}
			p.wantClosed(c.closed)
		})
	}
}
