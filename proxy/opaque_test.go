package proxy_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/test/await"
	"github.com/tulle-mesh/tulle/test/loopback"
)

// accepting is a TCP application that hands its connections to the test.
type accepting struct {
	addr  string
	conns chan *net.TCPConn
}

func accept(t testing.TB) *accepting {
	t.Helper()
	a := &accepting{conns: make(chan *net.TCPConn, 16)}
	a.addr = serveTCP(t, func(nc net.Conn) {
		t.Cleanup(func() { nc.Close() })
		a.conns <- nc.(*net.TCPConn)
	})
	return a
}

// next is the next connection that reaches the application.
func (a *accepting) next(t testing.TB) *net.TCPConn {
	t.Helper()
	select {
	case nc := <-a.conns:
		check(t, nc.SetDeadline(time.Now().Add(await.Limit)))
		return nc
	case <-time.After(30 * time.Second):
		t.Fatal("the application was not reached")
		return nil
	}
}

// opaquePaths are the ways that a connection takes through one proxy or two, each with the
// application at its end.
func opaquePaths(t *testing.T, m *testMesh) map[string]func() (client, server *net.TCPConn) {
	t.Helper()
	a := accept(t)
	web := pod{"web-0", a.addr, loopback.Free()}
	m.profile("  opaquePorts: [\"80\"]\n")
	m.service("web", web)
	m.service("plain", pod{"plain-0", a.addr, ""})
	m.proxy("web", web)
	caller := m.caller("web", "plain")
	through := func(addr string) func() (client, server *net.TCPConn) {
		return func() (client, server *net.TCPConn) {
			t.Helper()
			nc, err := net.Dial("tcp", addr)
			check(t, err)
			t.Cleanup(func() { nc.Close() })
			check(t, nc.SetDeadline(time.Now().Add(30*time.Second)))
			_, err = nc.Write([]byte("\x01"))
			check(t, err)
			select {
			case server = <-a.conns:
			case <-time.After(30 * time.Second):
				t.Fatal("the application is not reached")
			}
			check(t, server.SetDeadline(time.Now().Add(30*time.Second)))
			wantRead(t, server, "\x01")
			return nc.(*net.TCPConn), server
		}
	}
	return map[string]func() (client, server *net.TCPConn){
		"outbound": through(caller.out["plain"]),
		"inbound":  through(web.mesh),
		"two hops": through(caller.out["web"]),
	}
}

func wantRead(t testing.TB, c net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func wantEnd(t testing.TB, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Fatalf("read %d bytes, %v; want an orderly end", n, err)
	}
}

func wantReset(t testing.TB, c net.Conn) {
	t.Helper()
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("read %d bytes, %v; want a reset", n, err)
	}
}

func say(t testing.TB, c net.Conn, s string) {
	t.Helper()
	_, err := io.WriteString(c, s)
	check(t, err)
}

func reset(c *net.TCPConn) {
	c.SetLinger(0)
	c.Close()
}

// The end of one direction is the end of that direction, whoever comes first.
func TestOpaqueHalfClose(t *testing.T) {
	m := newMesh(t, 0)
	for name, open := range opaquePaths(t, m) {
		for _, clientFirst := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				first, second := open()
				if !clientFirst {
					first, second = second, first
				}
				say(t, first, "last words")
				check(t, first.CloseWrite())
				wantRead(t, second, "last words")
				wantEnd(t, second)
				for range 3 {
					say(t, second, "still here")
					wantRead(t, first, "still here")
				}
				check(t, second.CloseWrite())
				wantEnd(t, first)
			})
		}
	}
}

// A reset is not an end: whoever reads until the end would take what came for the whole.
func TestOpaqueResets(t *testing.T) {
	m := newMesh(t, 0)
	for name, open := range opaquePaths(t, m) {
		t.Run(name+", by the client", func(t *testing.T) {
			client, server := open()
			reset(client)
			wantReset(t, server)
		})
		t.Run(name+", by the server", func(t *testing.T) {
			client, server := open()
			say(t, server, "some")
			wantRead(t, client, "some")
			reset(server)
			wantReset(t, client)
		})
		t.Run(name+", after its half has ended", func(t *testing.T) {
			client, server := open()
			check(t, client.CloseWrite())
			wantEnd(t, server)
			reset(client) // nobody writes to it: only its reset tells
			wantBroken(t, server)
		})
		t.Run(name+", with the other half ended", func(t *testing.T) {
			client, server := open()
			check(t, client.CloseWrite())
			wantEnd(t, server)
			reset(server)
			wantReset(t, client)
		})
	}
}

// wantBroken is wantReset for a connection whose reads have ended already.
func wantBroken(t testing.TB, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	check(t, err)
	var reset error
	err = raw.Read(func(fd uintptr) bool {
		n, e := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
		if e == nil && n != 0 {
			reset = syscall.Errno(n)
		}
		return reset != nil
	})
	// the kernel says EPIPE when the end was first
	if err != nil || !errors.Is(reset, syscall.ECONNRESET) && !errors.Is(reset, syscall.EPIPE) {
		t.Fatalf("%v, %v; want a reset", reset, err)
	}
}

// TLS that ends without its alert was cut, by whomever: the application must not take it for an end
// (RFC 8446 §6.1).
func TestATruncatedTunnelIsNoEnd(t *testing.T) {
	m := newMesh(t, 0)
	a := accept(t)
	web := pod{"web-0", a.addr, loopback.Free()}
	m.profile("  opaquePorts: [\"80\"]\n")
	m.service("web", web)
	m.proxy("web", web)
	m.write("pod-client.yaml", podYAML("client", pod{"client-0", "127.0.0.1:1", loopback.Free()}))
	_, port, _ := net.SplitHostPort(a.addr)
	for _, orderly := range []bool{true, false} {
		tc, err := m.dialMesh("client", web.mesh, port+config.SNISuffix, config.ALPNTCP,
			workloadID("web"))
		check(t, err)
		say(t, tc, "all but the rest")
		server := await.Receive(t, "the application is dialed", a.conns)
		check(t, server.SetDeadline(time.Now().Add(30*time.Second)))
		wantRead(t, server, "all but the rest")
		if orderly {
			check(t, tc.CloseWrite())
			wantEnd(t, server)
			continue
		}
		check(t, tc.NetConn().(*net.TCPConn).CloseWrite())
		wantReset(t, server)
	}
}

// An application that cannot be reached is a broken connection, not an empty one.
func TestAnUnreachableApplicationIsAReset(t *testing.T) {
	m := newMesh(t, 0)
	web := pod{"web-0", loopback.Free(), loopback.Free()}
	m.profile("  opaquePorts: [\"80\"]\n")
	m.service("web", web)
	m.service("plain", pod{"plain-0", web.app, ""})
	m.proxy("web", web)
	caller := m.caller("web", "plain")
	for name, addr := range map[string]string{"outbound": caller.out["plain"], "inbound": web.mesh,
		"two hops": caller.out["web"]} {
		t.Run(name, func(t *testing.T) {
			c, err := net.Dial("tcp", addr)
			if errors.Is(err, syscall.ECONNRESET) {
				return // before the dial had noticed that it succeeded
			}
			check(t, err)
			defer c.Close()
			check(t, c.SetDeadline(time.Now().Add(30*time.Second)))
			if _, err := c.Write([]byte("\x01")); errors.Is(err, syscall.ECONNRESET) {
				return
			}
			wantReset(t, c)
		})
	}
}

// Bulk both ways at once arrives whole, whatever carries it: copies, splices or TLS.
func TestOpaqueBulk(t *testing.T) {
	const size = 24 << 20
	m := newMesh(t, 0)
	for name, open := range opaquePaths(t, m) {
		t.Run(name, func(t *testing.T) {
			client, server := open()
			check(t, client.SetDeadline(time.Now().Add(2*time.Minute)))
			check(t, server.SetDeadline(time.Now().Add(2*time.Minute)))
			done := make(chan error, 4)
			up, upGot := sha256.New(), sha256.New()
			down, downGot := sha256.New(), sha256.New()
			go func() { done <- pour(client, up, size) }()
			go func() { done <- pour(server, down, size) }()
			go func() { done <- drainInto(server, upGot) }()
			go func() { done <- drainInto(client, downGot) }()
			for range 4 {
				check(t, await.Receive(t, "all bytes have moved", done))
			}
			if !bytes.Equal(up.Sum(nil), upGot.Sum(nil)) ||
				!bytes.Equal(down.Sum(nil), downGot.Sum(nil)) {
				t.Error("what arrived is not what was sent")
			}
		})
	}
}

// pour sends size random bytes in pieces of all sizes, and ends its half.
func pour(c *net.TCPConn, sum hash.Hash, size int) error {
	seed := [32]byte{byte(size)}
	source := io.LimitReader(rand.NewChaCha8(seed), int64(size))
	buf := make([]byte, 256<<10)
	for {
		n, err := source.Read(buf[:1+rand.IntN(len(buf))])
		if err == io.EOF {
			return c.CloseWrite()
		}
		sum.Write(buf[:n])
		if _, err := c.Write(buf[:n]); err != nil {
			return err
		}
	}
}

func drainInto(c *net.TCPConn, sum hash.Hash) error {
	_, err := io.Copy(sum, struct{ io.Reader }{c})
	return err
}

// A client that resets while its protocol is still being made out has sent nothing.
func TestAResetDuringDetection(t *testing.T) {
	m := newMesh(t, 0)
	a := accept(t)
	m.service("web", pod{"web-0", a.addr, ""})
	caller := m.caller("web")
	nc, err := net.Dial("tcp", caller.out["web"])
	check(t, err)
	say(t, nc, "GE") // it may become HTTP
	awaitConnections(t, caller, 1)
	reset(nc.(*net.TCPConn))
	awaitConnections(t, caller, 0)
	select {
	case <-a.conns:
		t.Error("the application got a connection that was reset")
	default:
	}
}

func awaitConnections(t testing.TB, r *running, want int64) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for ; r.p.Connections() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections, want %d", r.p.Connections(), want)
		}
	}
}
