package main

import (
	"io"
	"net/http"
)

// serveHold begins its answers and never ends them; it speaks HTTP/1 and HTTP/2.
func serveHold(addr string) error {
	s := &http.Server{Addr: addr, Protocols: &http.Protocols{},
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: heldConns * heldStreams * 2}}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := http.NewResponseController(w)
		c.EnableFullDuplex()
		c.Flush()
		io.Copy(io.Discard, r.Body) // the client leaves it open, and then the connection
	})
	return s.ListenAndServe()
}
