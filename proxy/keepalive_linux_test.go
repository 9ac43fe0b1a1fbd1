package proxy

import (
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
	"golang.org/x/sys/unix"
)

// A backend in plaintext that vanished is found out by TCP, whether something was sent to it or
// not, and not before it could be ended for taking nothing. The pod's own application is not given
// up for taking nothing.
func TestTheSilenceOfAPlaintextBackendIsBounded(t *testing.T) {
	p, err := New(config.Config{TokenFile: "none", Limits: limits}, "test",
		Output{Log: slog.New(slog.DiscardHandler)})
	check(t, err)
	defer p.cancel()
	judge := func(ip string, want time.Duration) {
		option := dialled(t, p, ip)
		sent := time.Duration(option(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)) * time.Millisecond
		quiet := time.Duration(option(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)+
			option(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL)*
				option(unix.IPPROTO_TCP, unix.TCP_KEEPCNT)) * time.Second
		if on := option(unix.SOL_SOCKET, unix.SO_KEEPALIVE); on == 0 || quiet > limits.PeerTimeout {
			t.Errorf("%s: keep-alive %d finds it after %v", ip, on, quiet)
		}
		if sent != want || want != 0 && want <= limits.BodyStall {
			t.Errorf("%s: what was sent may be unacknowledged for %v", ip, sent)
		}
	}
	judge("127.0.0.1", 0)
	judge(ownAddress(t), limits.UnackedTimeout) // skips the rest where there is none
}

// ownAddress is one of this machine's that is not on loopback.
func ownAddress(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	check(t, err)
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Skip("this machine has no address but loopback's")
	return ""
}

// dialled connects to an address of this machine, and returns what reads the socket's options.
func dialled(t *testing.T, p *Proxy, ip string) (option func(level, name int) int) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	check(t, err)
	t.Cleanup(func() { l.Close() })
	nc, err := p.dialPlain(t.Context(), l.Addr().String())
	check(t, err)
	t.Cleanup(func() { nc.Close() })
	raw, err := nc.(*net.TCPConn).SyscallConn()
	check(t, err)
	return func(level, name int) (n int) {
		var failed error
		check(t, raw.Control(func(fd uintptr) {
			n, failed = unix.GetsockoptInt(int(fd), level, name)
		}))
		check(t, failed)
		return n
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
