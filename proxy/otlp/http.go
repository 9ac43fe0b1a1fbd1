package otlp

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/h1"
	"github.com/tulle-mesh/tulle/proxy/header"
)

// overHTTP exports each batch on a connection of its own: one every few seconds, of which nothing
// is left between.
type overHTTP struct{ t *Tracer }

func (o *overHTTP) export(ctx context.Context, request []byte) ([]byte, error) {
	w, err := o.t.Dial(ctx, o.t.Endpoint)
	if err != nil {
		return nil, &busy{error: err}
	}
	ended := make(chan struct{})
	conn := h1.NewClient(w, h1.Options{StreamWindow: maxAnswer})
	conn.Start(func(error) {
		w.Close()
		close(ended)
	})
	answer := &answer{done: make(chan struct{})}
	if err = o.post(conn, request, answer); err == nil {
		select {
		case <-answer.done:
		case <-ctx.Done():
			answer.finish(ctx.Err())
		}
	}
	w.Close()
	<-ended
	if err != nil {
		return nil, &busy{error: err}
	}
	return answer.result()
}

func (o *overHTTP) post(conn *h1.Conn, request []byte, answer *answer) error {
	stream, err := conn.OpenStream([]hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: o.t.Endpoint},
		{Name: ":path", Value: "/v1/traces"},
		{Name: "content-type", Value: "application/x-protobuf"},
		{Name: "content-length", Value: strconv.Itoa(len(request))},
		{Name: "user-agent", Value: o.t.UserAgent},
	}, false, answer)
	if err != nil {
		return err
	}
	stream.WriteData(request, true) // what is not accepted at once the stream keeps
	stream.Flush()
	return nil
}

func (o *overHTTP) close() {}

// answer is the collector's: the sink of a stream. What is read is not given back to the window, so
// that a longer one than a collector has use for stops there.
type answer struct {
	done chan struct{} // closed: it is complete

	mu       sync.Mutex // guards what follows
	status   int
	after    string // Retry-After
	body     []byte
	complete bool
	err      error
}

func (a *answer) OnSent(int) {}

func (a *answer) OnHeaders(fields []hpack.HeaderField, end bool) {
	a.mu.Lock()
	status, err := strconv.Atoi(header.Value(fields, ":status"))
	if err == nil { // else they are trailers
		a.status, a.after = status, header.Value(fields, "retry-after")
	}
	a.mu.Unlock()
	if end {
		a.finish(nil)
	}
}

func (a *answer) OnData(p []byte, end bool) {
	a.mu.Lock()
	a.body = append(a.body, p...)
	enough := len(a.body) >= maxAnswer/2
	a.mu.Unlock()
	if end || enough {
		a.finish(nil)
	}
}

func (a *answer) OnReset(_ uint32, err error) {
	if err == nil {
		err = errors.New("the collector broke off")
	}
	a.finish(err)
}

// finish ends the answer, once.
func (a *answer) finish(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.complete {
		a.complete, a.err = true, err
		close(a.done)
	}
}

// result is the body of a good answer. OTLP has a client try again after 429, 502, 503 and 504
// (OTLP 1.7, "OTLP/HTTP response").
func (a *answer) result() ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	err := fmt.Errorf("the collector answers HTTP status %d", a.status)
	switch {
	case a.err != nil:
		return nil, &busy{error: a.err}
	case a.status >= 200 && a.status < 300:
		return a.body, nil
	case a.status == 429 || a.status >= 502 && a.status <= 504:
		return nil, &busy{error: err, after: header.RetryAfter(a.after, time.Now())}
	}
	return nil, err
}
