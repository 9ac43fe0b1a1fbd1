package h1

import (
	"strings"
	"testing"
	"testing/synctest"
)

const (
	longPost = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
	okAnswer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
)

// answerOK writes the whole of an answer.
func answerOK(s *Stream) {
	s.WriteHeaders(fields(":status=200", "content-length=2"), false)
	s.WriteData([]byte("ok"), true)
	s.Flush()
}

// A request may go on after its response, and the next one follows it.
func TestServerReadsOnAfterTheResponse(t *testing.T) {
	serverTalk(t, Options{Outlive: true}, nil, func(p *peer) {
		p.send(longPost + "ab")
		answerOK(p.rec(0).stream)
		p.want(p.got(), okAnswer)
		p.send("cd" + get)
		if heard := p.rec(0).heard(); !strings.HasSuffix(heard, `data "ab" | data "cd" end`) {
			t.Errorf("heard %s", heard)
		}
		if n := p.requests(); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
		p.wantClosed(false)
	})
}

// Nobody wants the rest, and says so before or after all of the response has left.
func TestServerStopsAfterTheResponse(t *testing.T) {
	for _, size := range []int{10, 5000} {
		serverTalk(t, Options{Outlive: true, MaxOutput: 1000}, nil, func(p *peer) {
			p.send(longPost + "ab")
			s := p.rec(0).stream
			s.WriteHeaders(fields(":status=200"), false)
			s.WriteData(make([]byte, size), true)
			s.Reset(0)
			s.Flush()
			if got := p.got(); !strings.HasSuffix(got, "0\r\n\r\n") || len(got) < size {
				t.Errorf("%d bytes of a response of %d", len(got), size)
			}
			p.wantClosed(true)
			if heard := p.rec(0).heard(); strings.Contains(heard, "reset") {
				t.Errorf("heard %s", heard)
			}
		})
	}
}

// A caller that leaves in the rest is told of.
func TestClientLeavesAfterTheResponse(t *testing.T) {
	serverTalk(t, Options{Outlive: true}, nil, func(p *peer) {
		p.send(longPost + "ab")
		answerOK(p.rec(0).stream)
		p.nc.Close()
		synctest.Wait()
		if heard := p.rec(0).heard(); !strings.Contains(heard, "reset") {
			t.Errorf("heard %s", heard)
		}
	})
}

// A client's request goes on after its response; the connection is not used again.
func TestClientSendsOnAfterTheResponse(t *testing.T) {
	clientTalk(t, Options{Outlive: true, MaxOutput: 1000}, func(p *peer) {
		r := p.open(false, ":method=POST", ":scheme=http", ":authority=a", ":path=/",
			"content-length=5000")
		p.got()
		p.send(okAnswer)
		p.wantClosed(false)
		rest := strings.Repeat("x", 5000)
		r.stream.WriteData([]byte(rest), true)
		r.stream.Flush()
		p.want(p.got(), rest)
		p.wantClosed(true)
		if heard := r.heard(); !strings.HasSuffix(heard, `data "ok" end`) {
			t.Errorf("heard %s", heard)
		}
	})
}

// After its response a server has nothing more to say, and its end is the request's.
func TestServerEndsAfterTheResponse(t *testing.T) {
	for name, last := range map[string]func(*peer){
		"it closes":  func(p *peer) { p.nc.Close() },
		"it talks":   func(p *peer) { p.send("HTTP/1.1 ") },
		"it is left": func(p *peer) { p.rec(0).stream.Reset(codeCancel) },
	} {
		t.Run(name, func(t *testing.T) {
			clientTalk(t, Options{Outlive: true}, func(p *peer) {
				r := p.open(false, ":method=POST", ":scheme=http", ":authority=a", ":path=/")
				p.all = append(p.all, r)
				p.send(okAnswer)
				last(p)
				synctest.Wait()
				if told := strings.Contains(r.heard(), "reset"); told != (name != "it is left") {
					t.Errorf("heard %s", r.heard())
				}
				if !p.over {
					t.Error("the connection lives")
				}
			})
		})
	}
}
