package tunnel

import (
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/proxy/detect"
)

// lateLeg is a client's connection whose deadlines for the future are set as late as the scheduler
// may have it: after one that has passed, if one is set meanwhile.
type lateLeg struct {
	net.Conn
	once sync.Once
	past chan struct{} // closed with the first that has passed
}

func (l *lateLeg) CloseWrite() error { return l.Close() }

func (l *lateLeg) SetReadDeadline(t time.Time) error {
	if t.After(time.Now()) {
		select {
		case <-l.past:
		case <-time.After(time.Second):
		}
		return l.Conn.SetReadDeadline(t)
	}
	err := l.Conn.SetReadDeadline(t)
	if !t.IsZero() {
		l.once.Do(func() { close(l.past) })
	}
	return err
}

// A server that greets at once is heard at once, whichever end's goroutine runs first.
func TestAGreetingThatIsHereAlreadyIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app, down := net.Pipe()
		server, up := net.Pipe()
		defer app.Close()
		defer server.Close()
		go server.Write([]byte("220 ready\n"))
		synctest.Wait()
		p := &Carrier{Options: Options{Ctx: t.Context(), Limits: limits}}
		began := time.Now()
		nc := &lateLeg{Conn: down, past: make(chan struct{})}
		r := detect.NewReader(nc, p.attendLimits())
		w, err := p.overture(&lateLeg{Conn: up, past: make(chan struct{})}, r, nc)
		if err != nil || w.left != nil || w.caller == nil || string(w.answer) != "220 ready\n" {
			t.Errorf("client silent %v, server said %q, left %v, %v",
				w.caller != nil, w.answer, w.left, err)
		}
		if took := time.Since(began); took > limits.DetectTimeout {
			t.Errorf("the greeting took %v", took)
		}
	})
}
