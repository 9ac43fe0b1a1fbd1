package h2

import (
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// From the moment that an idle connection is given up, it takes no request: it would be lost with
// it.
func TestAnIdleConnectionTakesNothingOnceItEnds(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	w := wire.New(near, nil)
	defer w.Close()
	c := NewClient(w, Options{IdleTimeout: time.Minute})
	c.start = startStarted
	now := c.now.Add(time.Hour)
	c.timers.idle = c.now
	if err := c.tick(now); !errors.Is(err, errIdle) {
		t.Fatalf("tick: %v", err)
	}
	head := []hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: "/"},
	}
	if _, err := c.OpenStream(head, true, nil); !errors.Is(err, ErrGoingAway) {
		t.Errorf("OpenStream: %v, want ErrGoingAway", err)
	}
}
