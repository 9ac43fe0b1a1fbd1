package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// uploads is an application to which requests with bodies say that they would go on in another
// protocol. A path is what it makes of that.
type uploads struct {
	t *testing.T
}

func (u uploads) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Tulle-Client-Id") == "forged" {
		u.t.Error("the application got a request that no proxy has looked at")
	}
	switch r.URL.Path {
	case "/switch":
		u.read(r)
		u.echo(w, r, 0)
	case "/switch-early":
		u.echo(w, r, r.ContentLength)
	case "/refuse":
		u.read(r)
		http.Error(w, "no", http.StatusForbidden)
	case "/refuse-early":
		http.Error(w, "no", http.StatusForbidden)
	default:
		fmt.Fprint(w, u.read(r))
	}
}

func (u uploads) read(r *http.Request) int64 {
	n, err := io.Copy(&pattern{left: r.ContentLength}, r.Body)
	if err != nil || n != r.ContentLength || u.upgrade(r) != "own" && r.URL.Path != "/next" {
		u.t.Errorf("%s, upgrade %q: %d bytes of %d: %v", r.URL, u.upgrade(r), n, r.ContentLength,
			err)
	}
	return n
}

func (u uploads) upgrade(r *http.Request) string { return r.Header.Get("Upgrade") }

// echo switches protocols, and says what it hears after a body of so many bytes.
func (u uploads) echo(w http.ResponseWriter, r *http.Request, body int64) {
	nc, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		u.t.Error(err)
		return
	}
	defer nc.Close()
	io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"+
		"Upgrade: own\r\n\r\n")
	if _, err := io.CopyN(&pattern{left: body}, buf, body); err != nil {
		u.t.Errorf("the body of %d bytes: %v", body, err)
	}
	io.Copy(nc, buf)
}

// nextRequest follows a request that asks for an upgrade. If there is one it is the first that is
// said in the other protocol, and else a request of its own.
const nextRequest = "GET /next HTTP/1.1\r\nHost: web\r\nTulle-Client-Id: forged\r\n\r\n"

// A request that asks for an upgrade may have a body, as Docker's clients send one. Neither this
// nor what follows it is taken for something else, whatever the application answers, and when.
func TestUpgradesOfRequestsThatHaveABody(t *testing.T) {
	for name, to := range uploadPaths(t, uploads{t}) {
		for _, size := range []int64{0, 1, 100 << 10} {
			for path, status := range map[string]int{"/switch": 101, "/switch-early": 101,
				"/refuse": 403, "/refuse-early": 403, "/ignore": 200} {
				t.Run(fmt.Sprintf("%s%s of %d", name, path, size), func(t *testing.T) {
					upload(t, to, path, size).want(status, size)
				})
			}
		}
	}
}

// An upgrade of a request whose body comes in chunks is ignored, as RFC 9110 §7.8 leaves to a
// server: to the application it is a request that asks for none, with all of its body, and it goes
// on in HTTP/1.1.
func TestAnUpgradeIsIgnoredWithAChunkedBody(t *testing.T) {
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %v %v", r.URL.Path, body, r.Header["Upgrade"], err)
	})
	for name, to := range uploadPaths(t, echo) {
		t.Run(name, func(t *testing.T) {
			nc, err := net.Dial("tcp", to)
			check(t, err)
			defer nc.Close()
			check(t, nc.SetDeadline(time.Now().Add(await.Limit)))
			say(t, nc, "POST /chunks HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\n"+
				"Upgrade: own\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n5\r\n more\r\n"+
				"0\r\n\r\n"+nextRequest)
			in := bufio.NewReader(nc)
			for _, want := range []string{"/chunks some more [] <nil>", "/next  [] <nil>"} {
				resp, err := http.ReadResponse(in, nil)
				check(t, err)
				said, err := io.ReadAll(resp.Body)
				check(t, err)
				if resp.StatusCode != 200 || resp.Header["Upgrade"] != nil || string(said) != want {
					t.Errorf("%s %v: %s, want %s", resp.Status, resp.Header, said, want)
				}
			}
		})
	}
}

// uploadPaths are the ways to an application.
func uploadPaths(t *testing.T, h http.Handler) map[string]string {
	t.Helper()
	m := newMesh(t, 0)
	addr := app(t, h)
	web := pod{"web-0", addr, loopback.Free()}
	m.service("web", web)
	m.service("plain", pod{"plain-0", addr, ""})
	m.proxy("web", web)
	caller := m.caller("web", "plain")
	return map[string]string{"outbound": caller.out["plain"], "inbound": web.mesh,
		"two hops": caller.out["web"]}
}

// In HTTP/2, too, what follows the body before the answer is nobody's request.
func TestWhatFollowsTheBodyOfAnExtendedConnect(t *testing.T) {
	const size = 5
	for name, to := range uploadPaths(t, uploads{t}) {
		for path, status := range map[string]string{"/switch": "200", "/refuse": "403"} {
			t.Run(name+path, func(t *testing.T) {
				f := frames(t, to)
				f.request([2]string{":method", "CONNECT"}, [2]string{":protocol", "own"},
					[2]string{":scheme", "http"}, [2]string{":authority", "web"},
					[2]string{":path", path}, [2]string{"upgrade-length", fmt.Sprint(size)})
				said, err := io.ReadAll(&pattern{left: size})
				check(t, err)
				check(t, f.WriteData(1, false, append(said, nextRequest...)))
				h, ok := f.next().(*http2.MetaHeadersFrame)
				if !ok || h.PseudoValue("status") != status {
					t.Fatalf("%v", h)
				}
				if status == "200" {
					check(t, f.WriteData(1, true, nil))
					if got := f.data(); got != nextRequest {
						t.Errorf("echoed %q", got)
					}
				}
				next := upload(t, to, "/ignore", size)
				next.want(200, size)
			})
		}
	}
}

// uploaded is a client that has sent an upgrade, its body and something more.
type uploaded struct {
	net.Conn
	t    *testing.T
	path string
	in   *bufio.Reader
}

func upload(t *testing.T, addr, path string, size int64) *uploaded {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	check(t, err)
	t.Cleanup(func() { nc.Close() })
	check(t, nc.SetDeadline(time.Now().Add(await.Limit)))
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: own\r\n"+
		"Content-Length: %d\r\n\r\n", path, size)
	go io.Copy(nc, io.MultiReader(strings.NewReader(head), &pattern{left: size},
		strings.NewReader(nextRequest))) // it fails where the answer does not want all of it
	return &uploaded{nc, t, path, bufio.NewReader(nc)}
}

func (u *uploaded) want(status int, size int64) {
	u.t.Helper()
	resp, err := http.ReadResponse(u.in, nil)
	check(u.t, err)
	if resp.StatusCode != status {
		u.t.Fatalf("%s", resp.Status)
	}
	if status == http.StatusSwitchingProtocols {
		u.wantEcho(resp)
		return
	}
	said, err := io.ReadAll(resp.Body)
	check(u.t, err)
	if u.path == "/ignore" && string(said) != fmt.Sprint(size) {
		u.t.Errorf("the application got %s bytes, not %d", said, size)
	}
	next, err := http.ReadResponse(u.in, nil)
	if err != nil && u.path == "/refuse-early" {
		return // who does not read all of a request may have to close
	}
	check(u.t, err)
	said, err = io.ReadAll(next.Body)
	check(u.t, err)
	if next.StatusCode != 200 || string(said) != "0" {
		u.t.Errorf("the next request got %s: %s", next.Status, said)
	}
}

// wantEcho reads what was said after the body, and ends the connection as it was begun.
func (u *uploaded) wantEcho(resp *http.Response) {
	u.t.Helper()
	got := make([]byte, len(nextRequest))
	_, err := io.ReadFull(u.in, got)
	check(u.t, err)
	if resp.Header.Get("Upgrade") != "own" || string(got) != nextRequest {
		u.t.Errorf("%v, then %q", resp.Header, got)
	}
	check(u.t, u.Conn.(*net.TCPConn).CloseWrite())
	if rest, err := io.ReadAll(u.in); err != nil || len(rest) > 0 {
		u.t.Errorf("then %q, %v", rest, err)
	}
}
