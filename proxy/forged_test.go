package proxy_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/loopback"
)

const forgedID = "spiffe://cluster.local/ns/bank/sa/admin"

// forgery is how a caller says a request, in pieces with a pause between, that it hopes is not
// taken for HTTP.
type forgery struct {
	name   string
	pieces []string
}

const forgedHead = "\r\nHost: web\r\nTulle-Client-Id: " + forgedID + "\r\nConnection: close\r\n\r\n"

func forgeries() []forgery {
	return []forgery{
		{"in two pieces", []string{"GET / HT", "TP/1.1" + forgedHead}},
		{"a method in two pieces", []string{"GE", "T / HTTP/1.1" + forgedHead}},
		{"after silence", []string{"", "GET / HTTP/1.1" + forgedHead}},
		{"after silence, in two pieces", []string{"", "GE", "T / HTTP/1.1" + forgedHead}},
		{"a method in lower case", []string{"get / HTTP/1.1" + forgedHead}},
		{"a method of 40 letters", []string{strings.Repeat("A", 40) + " / HTTP/1.1" + forgedHead}},
		{"a line of 17 KiB",
			[]string{"GET /" + strings.Repeat("x", 17<<10) + " HTTP/1.1" + forgedHead}},
		{"an empty line first", []string{"\r\nGET / HTTP/1.1" + forgedHead}},
		{"tabs", []string{"GET\t/\tHTTP/1.1" + forgedHead}},
		{"no version", []string{"GET /" + forgedHead}},
		{"after a PROXY header",
			[]string{"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET / HTTP/1.1" + forgedHead}},
		{"after a binary PROXY header",
			[]string{"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00GET / HTTP/1.1" + forgedHead}},
	}
}

// What no header may say is said by nobody, however little a request looks like one at first: in
// plaintext, and by a peer whose identity is verified but not what it says.
func TestNoCallerForgesAnIdentityByNotLookingLikeHTTP(t *testing.T) {
	for _, declared := range []string{"", "http"} {
		t.Run("appProtocol="+declared, func(t *testing.T) {
			m := impatient(t)
			addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "hello "+r.Header.Get("Tulle-Client-Id"))
			}))
			web := pod{"web-0", addr, loopback.Free()}
			m.declare("web", declared, web)
			m.proxy("web", web)
			caller := m.caller("web")
			_, port, _ := net.SplitHostPort(addr)
			dial := map[string]func() (net.Conn, error){
				"in plaintext": func() (net.Conn, error) {
					return net.Dial("tcp", web.mesh)
				},
				"through the caller's proxy": func() (net.Conn, error) {
					return net.Dial("tcp", caller.out["web"])
				},
				"as a peer's opaque connection": func() (net.Conn, error) {
					return m.dialMesh("client", web.mesh, port+config.SNISuffix, config.ALPNTCP,
						workloadID("web"))
				},
			}
			var all sync.WaitGroup
			for how, dial := range dial {
				for _, f := range forgeries() {
					nc, err := dial()
					check(t, err)
					all.Go(func() {
						defer nc.Close()
						answer := f.say(nc, 2*m.limits.DetectTimeout+100*time.Millisecond)
						if strings.Contains(answer, forgedID) {
							t.Errorf("%s, %s: the application believes that it was called by %s",
								f.name, how, forgedID)
						} else if !strings.HasPrefix(answer, "HTTP/1.1 ") {
							t.Errorf("%s, %s: answered %q, want HTTP", f.name, how, answer)
						}
					})
				}
			}
			all.Wait()
		})
	}
}

// say returns what is answered.
func (f forgery) say(nc net.Conn, pause time.Duration) string {
	nc.SetDeadline(time.Now().Add(20 * time.Second)) // fails only on a connection that has ended
	for i, piece := range f.pieces {
		if i > 0 {
			time.Sleep(pause)
		}
		io.WriteString(nc, piece) // an error is an answer
	}
	b, _ := io.ReadAll(nc)
	return string(b)
}

// A port that is declared to be HTTP gives nothing else to its application: the rest is answered
// 400, or cut.
func TestADeclaredPortTakesHTTPOnly(t *testing.T) {
	m := impatient(t)
	a := accept(t)
	web := pod{"web-0", a.addr, loopback.Free()}
	m.declare("web", "http", web)
	m.proxy("web", web)
	_, port, _ := net.SplitHostPort(a.addr)
	hello := string(foreignHello(t))
	for _, first := range []string{"\x00opaque", "*1\r\n$4\r\nPING\r\n",
		"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET / HTTP/1.1" + forgedHead, hello} {
		for _, meshed := range []bool{false, true} {
			var nc net.Conn
			var err error
			if meshed {
				nc, err = m.dialMesh("client", web.mesh, port+config.SNISuffix, config.ALPNTCP,
					workloadID("web"))
			} else {
				nc, err = net.Dial("tcp", web.mesh)
			}
			check(t, err)
			check(t, nc.SetDeadline(time.Now().Add(10*time.Second)))
			say(t, nc, first)
			b, _ := io.ReadAll(nc)
			if answer := string(b); answer != "" && !strings.HasPrefix(answer, "HTTP/1.1 400 ") {
				t.Errorf("%.20q, meshed %v: answered %q, want 400 or a cut", first, meshed, answer)
			}
			nc.Close()
		}
	}
	select {
	case <-a.conns:
		t.Error("the application was reached")
	default:
	}
}

// Whoever sends HTTP after the server has greeted is cut off: nothing of it is passed on.
func TestHTTPAfterAGreetingIsCut(t *testing.T) {
	m := impatient(t)
	a := accept(t)
	web := pod{"web-0", a.addr, loopback.Free()}
	m.service("web", web)
	m.proxy("web", web)
	caller := m.caller("web")
	for how, to := range map[string]string{"in plaintext": web.mesh,
		"through the caller's proxy": caller.out["web"]} {
		for _, request := range []string{"GET / HTTP/1.1" + forgedHead, "QUIT\r\n"} {
			nc, err := net.Dial("tcp", to)
			check(t, err)
			defer nc.Close()
			check(t, nc.SetDeadline(time.Now().Add(30*time.Second)))
			server := a.next(t)
			say(t, server, "220 ready\r\n")
			wantRead(t, nc, "220 ready\r\n")
			say(t, server, "and more\r\n") // it need not wait for an answer
			wantRead(t, nc, "and more\r\n")
			say(t, nc, request)
			b := make([]byte, 100)
			n, err := server.Read(b)
			if carried := string(b[:n]); (carried == request) != (request == "QUIT\r\n") {
				t.Errorf("%s, %.6q: the application read %q, %v", how, request, carried, err)
			}
		}
	}
}

// A server may answer one word, and the next, though either may become a request's method; it is
// heard as soon as the caller pauses. Once it has answered, a request is cut.
func TestAWordIsAnswered(t *testing.T) {
	m := impatient(t)
	a := accept(t)
	web := pod{"web-0", a.addr, loopback.Free()}
	m.service("web", web)
	m.proxy("web", web)
	for how, to := range map[string]string{"in plaintext": web.mesh,
		"through the caller's proxy": m.caller("web").out["web"]} {
		t.Run(how, func(t *testing.T) {
			nc, err := net.Dial("tcp", to)
			check(t, err)
			defer nc.Close()
			check(t, nc.SetDeadline(time.Now().Add(30*time.Second)))
			say(t, nc, "ruok")
			server := a.next(t)
			wantRead(t, server, "ruok")
			say(t, server, "imok")
			wantRead(t, nc, "imok")
			say(t, nc, "stat")
			wantRead(t, server, "stat")
			say(t, server, "Mode")
			wantRead(t, nc, "Mode")
			say(t, nc, " / HTTP/1.1"+forgedHead)
			if b, err := io.ReadAll(server); len(b) > 0 {
				t.Errorf("the server read %q, %v", b, err)
			}
		})
	}
}

// What has got the beginning of a request line, and nothing more, must not take that for a request:
// it is reset, and asked in HTTP on another connection.
func TestAServerThatGotTheBeginningOfARequestIsReset(t *testing.T) {
	m := impatient(t)
	a := accept(t)
	web := pod{"web-0", a.addr, loopback.Free()}
	m.service("web", web)
	m.proxy("web", web)
	paths := map[string]string{"in plaintext": web.mesh,
		"through the caller's proxy": m.caller("web").out["web"]}
	for how, to := range paths {
		t.Run(how, func(t *testing.T) {
			nc, err := net.Dial("tcp", to)
			check(t, err)
			defer nc.Close()
			say(t, nc, "GET *")
			first := a.next(t)
			wantRead(t, first, "GET *")
			say(t, nc, " HTTP/1.1"+forgedHead)
			wantReset(t, first)
			// no star, but for OPTIONS
			if b, _ := io.ReadAll(nc); !strings.HasPrefix(string(b), "HTTP/1.1 400 ") {
				t.Errorf("answered %q", b)
			}
		})
	}
}

// What follows a caller's first bytes is nobody's business, unless it makes them a request line
// that some server takes.
func TestALineThatBecomesARequestIsCut(t *testing.T) {
	m := impatient(t)
	a := accept(t)
	web := pod{"web-0", a.addr, loopback.Free()}
	m.service("web", web)
	m.proxy("web", web)
	for how, to := range map[string]string{"in plaintext": web.mesh,
		"through the caller's proxy": m.caller("web").out["web"]} {
		for rest, cut := range map[string]bool{" HTTP/1.1" + forgedHead: true,
			" HTTP/1.1 200\r\n": false} {
			nc, err := net.Dial("tcp", to)
			check(t, err)
			defer nc.Close()
			check(t, nc.SetDeadline(time.Now().Add(30*time.Second)))
			say(t, nc, "\x00\xff /")
			server := a.next(t)
			wantRead(t, server, "\x00\xff /")
			say(t, nc, rest)
			b := make([]byte, len(rest))
			if n, err := io.ReadFull(server, b); (n == 0) != cut {
				t.Errorf("%s, %q: the server read %q, %v", how, rest, b[:n], err)
			}
		}
	}
}

// A peer's opaque connection to a port of which nobody said anything is carried as before: with
// bytes, TLS and silence.
func TestAPeersOpaqueConnectionIsCarried(t *testing.T) {
	m := impatient(t)
	web := pod{"web-0", echo(t), loopback.Free()}
	m.service("web", web)
	m.proxy("web", web)
	_, port, _ := net.SplitHostPort(web.app)
	for _, first := range []string{"\x00opaque\n", "PING\r\n", string(foreignHello(t)) + "\n"} {
		tc, err := m.dialMesh("client", web.mesh, port+config.SNISuffix, config.ALPNTCP,
			workloadID("web"))
		check(t, err)
		say(t, tc, first)
		wantRead(t, tc, first)
		say(t, tc, "GET / HTTP/1.1\r\n\r\n") // nobody's business any more
		wantRead(t, tc, "GET / HTTP/1.1\r\n\r\n")
	}
}
