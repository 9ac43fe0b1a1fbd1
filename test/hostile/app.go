package main

import (
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// bigBody is what /big answers with: more than any window or buffer on the way takes.
const bigBody = 4 << 20

// hugeBody is that of /huge: more than what sockets take as well.
const hugeBody = 64 << 20

// serveApp is the application behind the proxies, in HTTP/1 and HTTP/2.
func serveApp() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s := &http.Server{Handler: http.HandlerFunc(answer), Protocols: new(http.Protocols),
		// What the proxy keeps open is among the goroutines that are counted.
		IdleTimeout: time.Second,
		HTTP2:       &http.HTTP2Config{MaxConcurrentStreams: 100_000}}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	go s.Serve(l) // until the program ends
	return l.Addr().String(), nil
}

func answer(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/big":
		writeBig(w, bigBody)
	case "/huge":
		writeBig(w, hugeBody)
	case "/hang":
		<-r.Context().Done()
	case "/sink":
		io.Copy(io.Discard, r.Body)
	default:
		io.WriteString(w, "ok")
	}
}

func writeBig(w io.Writer, size int) {
	piece := []byte(strings.Repeat("x", 32<<10))
	for n := 0; n < size; n += len(piece) {
		if _, err := w.Write(piece); err != nil {
			return
		}
	}
}
