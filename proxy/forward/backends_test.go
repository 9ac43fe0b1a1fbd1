package forward

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// act is what a backend does with a try.
type act func(w http.ResponseWriter, r *http.Request)

// answer is an act: so many milliseconds after the try came, its backend answers.
func answer(after time.Duration, status int, body string) act {
	return func(w http.ResponseWriter, r *http.Request) {
		if pause(r, after) {
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
}

func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// cut breaks the connection, or resets the stream.
func cut(after time.Duration) act {
	return func(_ http.ResponseWriter, r *http.Request) {
		pause(r, after)
		panic(http.ErrAbortHandler)
	}
}

// status answers a gRPC call: by trailers alone, or after a message.
func status(after time.Duration, grpc, body string) act {
	return func(w http.ResponseWriter, r *http.Request) {
		if !pause(r, after) {
			return
		}
		w.Header().Set("content-type", "application/grpc")
		if body == "" {
			w.Header().Set("grpc-status", grpc)
			return
		}
		w.Header().Set("trailer", "grpc-status")
		io.WriteString(w, body)
		w.Header().Set("grpc-status", grpc)
	}
}

// pause is false if the try is cancelled meanwhile.
func pause(r *http.Request, d time.Duration) bool {
	select {
	case <-r.Context().Done():
		return false
	case <-time.After(d * time.Millisecond):
		return true
	}
}

// tried is a try as a backend saw it.
type tried struct {
	at        string // which backend
	body      string
	cancelled bool
}

func (o tried) String() string {
	return fmt.Sprintf("at %s, of %d bytes, cancelled: %v", o.at, len(o.body), o.cancelled)
}

// backends are servers in memory. The first try to arrive at any of them meets the first act, and
// so on.
type backends struct {
	acts []act

	mu        sync.Mutex                  // guards everything below
	always    map[string]act              // what one of them does with every try, by its address
	dialing   func(context.Context) error // nil: a connection comes at once
	unread    int                         // so many tries' bodies are not looked at
	listeners map[string]*listener
	tries     []*tried
}

// listener hands out connections that were dialed in memory.
type listener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case nc := <-l.conns:
		return nc, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *listener) Addr() net.Addr { return &net.UnixAddr{} }

// serve starts a backend, which speaks both protocols.
func (b *backends) serve(t *testing.T, address string) {
	l := &listener{conns: make(chan net.Conn), done: make(chan struct{})}
	b.listeners[address] = l
	s := &http.Server{Protocols: &http.Protocols{}, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) { b.handle(address, w, r) })}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	s.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: limits.RetryBodyLimit}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
}

func (b *backends) handle(address string, w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	one := &tried{at: address}
	b.tries = append(b.tries, one)
	n, unread, always := len(b.tries), b.unread, b.always[address]
	b.mu.Unlock()
	var body []byte
	if n > unread {
		body, _ = io.ReadAll(r.Body)
	}
	defer func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		one.body, one.cancelled = string(body), r.Context().Err() != nil
	}()
	switch {
	case always != nil:
		always(w, r)
	case n <= len(b.acts):
		b.acts[n-1](w, r)
	}
}

func (b *backends) dial(ctx context.Context, address string) (net.Conn, error) {
	b.mu.Lock()
	dialing := b.dialing
	b.mu.Unlock()
	if dialing != nil {
		return nil, dialing(ctx)
	}
	near, far := net.Pipe()
	b.listeners[address].conns <- far
	return near, nil
}

// notDialed has no connection come from now on.
func (b *backends) notDialed(dialing func(context.Context) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dialing = dialing
}

func nobodyListens(context.Context) error { return errors.New("nobody listens") }

func nobodyAnswers(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

// seen are the tries, and how many of them were cancelled.
func (b *backends) seen() (all []tried, cancelled int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, one := range b.tries {
		all = append(all, *one)
		if one.cancelled {
			cancelled++
		}
	}
	return all, cancelled
}
