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
	for range 50 {
		_, answer := conn.request(hpack.HeaderField{Name: "grpc-timeout", Value: "1m"})
		if status, body := answer.wait(t); status != "504" {
			t.Fatalf("status %s %q, want 504", status, body)
		}
	}
}
