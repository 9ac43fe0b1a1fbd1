package forward

import (
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

// A backend that knows the deadline may give up before the wheel's next tick: late is late, whoever
// says so first.
func TestABackendThatGivesUpAtTheDeadlineIsLate(t *testing.T) {
	l := listen(t)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Millisecond)
		panic(http.ErrAbortHandler)
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	p := newHarness(t)
	p.update(l.Addr().String())
	conn := p.web()
	conn.answer().Fallback.Request = time.Millisecond
	for range 50 {
		_, answer := conn.request()
		if status, body := answer.wait(t); status != "504" {
			t.Fatalf("status %s %q, want 504", status, body)
		}
	}
}

// What gRPC says of its deadlines means nothing in a request that is not gRPC.
func TestOnlyGRPCHasItsDeadlines(t *testing.T) {
	p := newHarness(t)
	l := listen(t)
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(50 * time.Millisecond)
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	p.update(l.Addr().String())
	_, answer := p.web().request(hpack.HeaderField{Name: "grpc-timeout", Value: "1m"})
	if status, body := answer.wait(t); status != "200" {
		t.Errorf("status %s %q, want 200", status, body)
	}
}
