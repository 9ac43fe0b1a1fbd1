package proxy_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// What one engine passes the others pass too, whatever is on the way.
func TestEveryWayPassesTheSame(t *testing.T) {
	addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		code := 200
		fmt.Sscanf(r.Header.Get("X-Status"), "%d", &code)
		w.WriteHeader(code)
		fmt.Fprintf(w, "%s, %d cookies", r.RequestURI, len(r.CookiesNamed("c")))
	}))
	clients := map[string]*http.Client{"http1": http1Client(t), "http2": http2Client(t)}
	for way, to := range ways(t, addr) {
		for name, c := range clients {
			for _, code := range []int{200, 299, 600, 999} {
				req, err := http.NewRequest("GET", "http://"+to, nil)
				check(t, err)
				req.URL.Opaque = "/\xc3\xa4\x80"
				req.Header.Set("X-Status", fmt.Sprint(code))
				for range 150 {
					req.AddCookie(&http.Cookie{Name: "c", Value: "d"})
				}
				resp, err := c.Do(req)
				check(t, err)
				b, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				want := "/\xc3\xa4\x80, 150 cookies"
				if resp.StatusCode != code || string(b) != want {
					t.Errorf("%s, %s: %d %q, want %d %q", name, way, resp.StatusCode, b, code, want)
				}
			}
		}
	}
}

// An interim answer has no body, and a few servers say so by a length.
func TestAnInterimAnswerOfNoLengthIsPassed(t *testing.T) {
	addr := serveTCP(t, saidAfterARequest("HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n"+
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
	for way, to := range ways(t, addr) {
		status, body, _ := get(t, http1Client(t), "http://"+to)
		if status != 200 || body != "hello" {
			t.Errorf("%s: %d %q", way, status, body)
		}
	}
}

// One request with a head that is too large ends by itself, and is told so: gRPC's in its own
// words.
func TestAHeadTooLargeEndsNoOtherStream(t *testing.T) {
	for way, to := range ways(t, app(t, hanging(make(chan struct{}, 10)))) {
		c := watches(t, to, 1)
		c.get("/watch", [2]string{"cookie", strings.Repeat("x", 70<<10)})
		c.want(way, ":status", "431")
		c.get("/watch", [2]string{"content-type", "application/grpc"},
			[2]string{"x", strings.Repeat("x", 70<<10)})
		c.want(way, "grpc-status", "8")
		c.get("/now")
		c.want(way, ":status", "200")
	}
}

// want reads on until the last request is answered.
func (c *crowd) want(way, name, value string) {
	c.t.Helper()
	for {
		fr, err := c.ReadFrame()
		check(c.t, err)
		if fr.Header().StreamID != c.last {
			if _, ended := fr.(*http2.RSTStreamFrame); ended {
				c.t.Errorf("%s: another stream was reset", way)
			}
			continue
		}
		if h, ok := fr.(*http2.MetaHeadersFrame); ok {
			for _, f := range h.Fields {
				if f.Name == name && f.Value == value {
					return
				}
			}
			c.t.Errorf("%s: %v, want %s: %s", way, h.Fields, name, value)
			return
		}
	}
}

// A caller of gRPC is told that the application does not speak HTTP/2.
func TestGRPCIsToldWhatTheApplicationSpeaks(t *testing.T) {
	old := serveTCP(t, saidAfterARequest("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
	for way, to := range ways(t, old) {
		_, err := dialGRPC(t, to).EmptyCall(within(t, clientTimeout), &testgrpc.Empty{})
		if err == nil || !strings.Contains(err.Error(), "speaks HTTP/1") {
			t.Errorf("%s: %v", way, err)
		}
	}
}

// The application learns where a caller without an identity calls from.
func TestTheApplicationLearnsItsCallersAddress(t *testing.T) {
	addr := app(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%v%v", r.Header["X-Forwarded-For"], r.Header["X-Forwarded-Proto"])
	}))
	for way, to := range ways(t, addr) {
		for said, want := range map[string]string{
			"": "[127.0.0.1][http]",
			"X-Forwarded-For: a\r\nX-Forwarded-For: b, c\r\n" +
				"X-Forwarded-Proto: https\r\n": "[a b, c, 127.0.0.1][https]",
		} {
			if way != "inbound" {
				r := strings.NewReplacer(", 127.0.0.1", "", "[127.0.0.1][http]", "[][]")
				want = r.Replace(want)
			}
			got := exchanged(t, to, "GET / HTTP/1.0\r\nHost: a\r\n"+said+"\r\n")
			if !strings.HasSuffix(got, "\r\n\r\n"+want) {
				t.Errorf("%s: %q, want %s", way, got, want)
			}
		}
	}
}

// saidAfterARequest answers in bytes whatever it is asked.
func saidAfterARequest(answer string) func(net.Conn) {
	return func(c net.Conn) {
		go func() {
			defer c.Close()
			b := make([]byte, 64<<10)
			for {
				if _, err := c.Read(b); err != nil {
					return
				}
				io.WriteString(c, answer)
			}
		}()
	}
}
