package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http2"
)

// recorder is the last server: Go's, HTTP/1 and HTTP/2. It keeps the bytes of its HTTP/1
// connections and each request that it took as complete, and answers with what it saw.
type recorder struct {
	addr   string
	server *http.Server

	mu   sync.Mutex
	raw  bytes.Buffer
	took []took
}

// took is a request as a server understood it.
type took struct {
	ID       string            `json:"id"`  // of its X-Id
	Via      string            `json:"via"` // the origin that passed it on, if one did
	Method   string            `json:"method"`
	Target   string            `json:"target"`
	Headers  map[string]string `json:"headers"` // those of a name that begins with X-T
	Length   int               `json:"length"`
	Sum      string            `json:"sum"`
	Trailers map[string]string `json:"trailers"`
}

func (t took) String() string { return t.Method + " " + t.Target }

// startRecorder starts one; without http1 it speaks HTTP/2 only.
func startRecorder(http1 bool) (*recorder, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	rec := &recorder{addr: l.Addr().String()}
	rec.server = &http.Server{
		Handler: rec, Protocols: new(http.Protocols), ReadHeaderTimeout: time.Minute,
	}
	rec.server.Protocols.SetHTTP1(http1)
	rec.server.Protocols.SetUnencryptedHTTP2(true)
	go rec.server.Serve(recordingListener{l, rec}) // ends with close
	return rec, nil
}

func (rec *recorder) close() error { return rec.server.Close() }

type recordingListener struct {
	net.Listener
	rec *recorder
}

func (l recordingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &recordingConn{Conn: c, rec: l.rec, http2: !l.rec.server.Protocols.HTTP1()}, err
}

type recordingConn struct {
	net.Conn
	rec   *recorder
	http2 bool // nothing but a preface may come first; Go's server answers other things in HTTP/1
}

func (c *recordingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.http2 && n > 0 && !strings.HasPrefix(http2.ClientPreface, string(p[:min(n, 3)])) {
		c.Conn.Read(make([]byte, 1<<10)) // closing with unread input would be a reset
		return 0, io.EOF
	}
	c.http2 = c.http2 && n == 0
	c.rec.mu.Lock()
	c.rec.raw.Write(p[:n])
	c.rec.mu.Unlock()
	return n, err
}

// take is everything since the last take.
func (rec *recorder) take() (raw string, requests []took) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	raw, requests = rec.raw.String(), rec.took
	rec.raw.Reset()
	rec.took = nil
	return raw, requests
}

// ServeHTTP answers by the path's first segment; all but /early read the request whole.
func (rec *recorder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/early" {
		http.Error(w, "early", http.StatusForbidden)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // not complete: nobody took it
	}
	t := took{ID: r.Header.Get("X-Id"), Via: r.Header.Get("X-Origin"), Method: r.Method,
		Target: r.RequestURI, Length: len(body), Sum: fmt.Sprintf("%x", sha256.Sum256(body)),
		Headers: tested(r.Header), Trailers: tested(r.Trailer)}
	rec.mu.Lock()
	rec.took = append(rec.took, t)
	rec.mu.Unlock()
	rec.answer(w, r, t)
}

func (rec *recorder) answer(w http.ResponseWriter, r *http.Request, t took) {
	switch r.URL.Path {
	case "/204":
		w.WriteHeader(http.StatusNoContent)
		return
	case "/304":
		w.WriteHeader(http.StatusNotModified)
		return
	case "/103":
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
	case "/trailers":
		w.Header().Set("Trailer", "X-Ttrailer")
		defer w.Header().Set("X-Ttrailer", "end")
	}
	text, _ := json.Marshal(t) // strings and a number
	w.Header().Set("X-Length", fmt.Sprint(len(text)))
	if r.URL.Path != "/unknown-length" && r.URL.Path != "/trailers" {
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	}
	w.Write(text)
}

// tested are the headers of interest, by their names in the canonical spelling.
func tested(h http.Header) map[string]string {
	m := map[string]string{}
	for name, values := range h {
		if len(name) > 3 && name[:3] == "X-T" {
			for _, v := range values {
				m[name] += "[" + v + "]"
			}
		}
	}
	return m
}
