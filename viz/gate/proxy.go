package gate

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
)

// browserHeaders are what only browsers send, and by which viz knows them.
var browserHeaders = []string{"Cookie", "Origin", "Referer", "Sec-Fetch-Dest", "Sec-Fetch-Mode",
	"Sec-Fetch-Site", "Sec-Fetch-User"}

// FromBrowser says whether a browser has sent a request, so far as it lets itself be known: all of
// today do.
func FromBrowser(r *http.Request) bool {
	for _, name := range browserHeaders {
		if r.Header.Get(name) != "" {
			return true
		}
	}
	return false
}

// Proxy sends requests on to the viz at an address, which may change, by a transport. Streams of
// events go through as they come.
func Proxy(address func() string, over http.RoundTripper) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "http", address()
			p.Out.Host = p.Out.URL.Host
			for _, name := range browserHeaders {
				p.Out.Header.Del(name)
			}
		},
		Transport: over, FlushInterval: -1,
		ErrorLog:     log.New(io.Discard, "", 0), // the page says that viz does not answer
		ErrorHandler: unanswered,
	}
}

func unanswered(w http.ResponseWriter, _ *http.Request, err error) {
	if errors.Is(err, context.Canceled) {
		return // the browser has gone
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusBadGateway)
	json.NewEncoder(w).Encode(map[string]string{"error": "viz does not answer: " + err.Error()})
}
