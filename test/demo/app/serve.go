package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// grace is how long requests may finish after a SIGTERM.
const grace = 2 * time.Second

// Serve answers until the context ends, and lets begun requests finish.
func Serve(ctx context.Context, addr string, h http.Handler) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(end); err != nil {
		server.Close()
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// VersionHeader says which version answered, through every service on the way back.
const VersionHeader = "X-Version"

// maxBody bounds what a service of the shop reads.
const maxBody = 1 << 20

// upstream is another service of the shop.
type upstream struct {
	url    string
	client *http.Client
}

func newUpstream(url string) *upstream {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// whom to call is in the environment, and nothing in between
	transport.Proxy = nil
	transport.MaxIdleConnsPerHost = 256 // as many as the load has workers: none should have to dial
	return &upstream{url, &http.Client{Transport: transport}}
}

// traceHeaders are what an application passes on from a request to those that it makes because of
// it. Nobody else can: a proxy sees many requests come and go, and not which was made for which.
var traceHeaders = []string{"Traceparent", "Tracestate", "Baggage", "B3", "X-B3-Traceid",
	"X-B3-Spanid", "X-B3-Parentspanid", "X-B3-Sampled", "X-B3-Flags"}

// forward asks the upstream for the same path and gives back its answer.
func (u *upstream) forward(w http.ResponseWriter, r *http.Request) {
	req, err := http.NewRequestWithContext(r.Context(), r.Method, u.url+r.URL.RequestURI(),
		http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	for _, name := range traceHeaders {
		req.Header[name] = r.Header[name]
	}
	req.ContentLength = r.ContentLength
	if r.ContentLength == 0 {
		req.Body = nil
	}
	resp, err := u.client.Do(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	for _, name := range []string{VersionHeader, "Content-Type"} {
		if v := resp.Header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
	w.WriteHeader(resp.StatusCode)
	// The status is out: nobody is left to tell of an error but the caller, who sees the body end.
	_, _ = io.Copy(w, resp.Body)
}
