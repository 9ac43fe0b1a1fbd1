package proxy_test

import (
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/test/loopback"
	"github.com/tulle-mesh/tulle/test/output"
	"github.com/tulle-mesh/tulle/test/undrawn"
)

// Whatever strangers do at the inbound port, the log has no more than a line of it a second.
func TestStrangersDoNotFillTheLog(t *testing.T) {
	m := newMesh(t, 0)
	a := accept(t)
	web := pod{"web-0", a.addr, loopback.Free()}
	m.declare("web", "http", web)
	var log output.Buffer
	m.log = slog.New(undrawn.Refuse(t, slog.NewTextHandler(&log, nil), forward.Undrawn))
	m.proxy("web", web)
	began := time.Now()
	const times = 30
	for range times {
		nc, err := net.Dial("tcp", web.mesh)
		check(t, err)
		say(t, nc, "\x00\n")
		io.Copy(io.Discard, nc) // it is reset
		nc.Close()
	}
	seconds := int(time.Since(began)/time.Second) + 1
	const line = "refused an inbound connection"
	if n := strings.Count(log.String(), line); n == 0 || n > seconds {
		t.Errorf("%d lines say %q after %d attempts in %d s", n, line, times, seconds)
	}
}
