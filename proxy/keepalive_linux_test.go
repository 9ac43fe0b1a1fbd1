package proxy

import (
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
	"golang.org/x/sys/unix"
)

// A backend in plaintext that vanished is found out by TCP, whether something was sent to it or not, and not before it could
// be ended for taking nothing.
func TestTheSilenceOfAPlaintextBackendIsBounded(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	p, err := New(config.Config{TokenFile: "none", Limits: limits}, "test", Output{Log: slog.New(slog.DiscardHandler)})
	check(t, err)
	defer p.cancel()
	nc, err := p.dialPlain(t.Context(), l.Addr().String())
	check(t, err)
	defer nc.Close()
	raw, err := nc.(*net.TCPConn).SyscallConn()
	check(t, err)
	option := func(level, name int) (n int) {
		check(t, raw.Control(func(fd uintptr) { n, err = unix.GetsockoptInt(int(fd), level, name) }))
		check(t, err)
		return n
	}
	sent := time.Duration(option(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)) * time.Millisecond
	quiet := time.Duration(option(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)+
		option(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL)*option(unix.IPPROTO_TCP, unix.TCP_KEEPCNT)) * time.Second
	if on := option(unix.SOL_SOCKET, unix.SO_KEEPALIVE); on == 0 || quiet > limits.PeerTimeout {
		t.Errorf("keep-alive %d finds it after %v", on, quiet)
	}
	if sent != limits.PeerTimeout || sent <= limits.BodyStall {
		t.Errorf("what was sent may be unacknowledged for %v", sent)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
