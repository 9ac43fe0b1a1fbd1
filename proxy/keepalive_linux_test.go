package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/await"
	"golang.org/x/sys/unix"
)

// A backend in plaintext that vanished is found out by TCP, whether something was sent to it or
// not, and not before it could be ended for taking nothing. The pod's own application is not given
// up for taking nothing.
func TestTheSilenceOfAPlaintextBackendIsBounded(t *testing.T) {
	p := newResting(t, limits)
	judge := func(ip string, want time.Duration) {
		option := dialled(t, p.dialPlain, ip)
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

// What is sent to a server of the control plane that vanished ends the connection soon, so that
// nobody waits for an answer on it. One lost probe of a connection that rests does not.
func TestTheSilenceOfTheControlPlaneIsBounded(t *testing.T) {
	p := newResting(t, limits)
	option := dialled(t, p.connectControl, "127.0.0.1")
	sent := time.Duration(option(unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)) * time.Millisecond
	if sent != limits.UnackedControl || sent == 0 {
		t.Errorf("what was sent may be unacknowledged for %v", sent)
	}
	if option(unix.SOL_SOCKET, unix.SO_KEEPALIVE) != 0 {
		t.Error("TCP sends probes of its own")
	}
}

// A packet to a pod of the control plane that is gone gets no answer. A dial that waits for it does
// not keep the next one, which another pod may get, from being made.
func TestADialOfTheControlPlaneThatIsLostEndsSoon(t *testing.T) {
	l := limits
	l.DialControl, l.DialOutside = 10*time.Millisecond, time.Hour
	p := newResting(t, l)
	addr := startDeaf(t)
	var err error
	await.Return(t, "the end of a dial that is lost", func() {
		_, err = p.dialControl(t.Context(), addr, &tls.Config{})
	})
	if late, ok := errors.AsType[net.Error](err); !ok || !late.Timeout() {
		t.Errorf("the dial ended with %v", err)
	}
}

// newResting is a proxy that does not run.
func newResting(t *testing.T, l config.Limits) *Proxy {
	t.Helper()
	p, err := New(config.Config{TokenFile: "none", Limits: l}, "test",
		Output{Log: slog.New(slog.DiscardHandler)})
	check(t, err)
	t.Cleanup(p.cancel)
	return p
}

// startDeaf listens at an address whose kernel drops every SYN: the queue of connections to be
// accepted is full for good.
func startDeaf(t *testing.T) string {
	t.Helper()
	socket := func() int {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		check(t, err)
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	l := socket()
	check(t, unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	check(t, unix.Listen(l, 0))
	at, err := unix.Getsockname(l)
	check(t, err)
	for range 8 { // one fits; the others try again and again
		if err := unix.Connect(socket(), at); err != nil && err != unix.EINPROGRESS {
			t.Fatal(err)
		}
	}
	return fmt.Sprintf("127.0.0.1:%d", at.(*unix.SockaddrInet4).Port)
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
func dialled(
	t *testing.T,
	dial func(context.Context, string) (net.Conn, error),
	ip string,
) (option func(level, name int) int) {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	check(t, err)
	t.Cleanup(func() { l.Close() })
	nc, err := dial(t.Context(), l.Addr().String())
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
