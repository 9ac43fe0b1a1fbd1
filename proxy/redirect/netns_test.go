//go:build netns

package redirect

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// These tests make network namespaces of their own: a pod, and a peer beyond a veth pair.
// `make e2e` runs them, as root.
func TestMain(m *testing.M) {
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr,
			"the redirection tests make network namespaces and need root: run `make e2e` as root")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// patience bounds each step; all of them take a millisecond.
const patience = 3 * time.Second

// space is a network namespace: one thread that lives in it and runs what it is given. Sockets keep
// the namespace they were made in, so only listening and dialling must happen there.
type space struct {
	tid  int
	work chan func()
}

func newSpace(t *testing.T) *space {
	t.Helper()
	s := &space{work: make(chan func())}
	started := make(chan error)
	go func() {
		// never unlocked: the thread ends with the goroutine, and the namespace with it
		runtime.LockOSThread()
		s.tid = unix.Gettid()
		started <- unix.Unshare(unix.CLONE_NEWNET)
		for f := range s.work {
			f()
		}
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { close(s.work) })
	return s
}

func (s *space) do(t *testing.T, f func() error) {
	t.Helper()
	done := make(chan error)
	s.work <- func() { done <- f() }
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// ip runs iproute2; a child inherits the namespace of the thread that forks it.
func (s *space) ip(t *testing.T, args ...string) {
	t.Helper()
	s.do(t, func() error {
		out, err := exec.Command("ip", args...).CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip %v (Debian: iproute2): %w %s", args, err, out)
		}
		return nil
	})
}

// serve answers each connection to a port with a word, and with where the client wanted to go.
func (s *space) serve(t *testing.T, listen, word string) {
	t.Helper()
	var l net.Listener
	s.do(t, func() (err error) {
		l, err = net.Listen("tcp", listen)
		return err
	})
	var answering sync.WaitGroup
	answering.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			answering.Go(func() { answer(nc, word) })
		}
	})
	t.Cleanup(func() { l.Close(); answering.Wait() })
}

// answer waits for the client's end first, so that a client decides how long its connection lives.
func answer(nc net.Conn, word string) {
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(2 * patience))
	if _, err := io.Copy(io.Discard, nc); err == nil {
		fmt.Fprint(nc, word, " ", wanted(nc))
	}
}

// hear ends nc on this side and returns what the server says.
func hear(nc net.Conn) string {
	nc.SetDeadline(time.Now().Add(patience))
	if err := nc.(*net.TCPConn).CloseWrite(); err != nil {
		return err.Error()
	}
	heard, err := io.ReadAll(nc)
	if err != nil {
		return err.Error()
	}
	return string(heard)
}

// untracked is the answer where no rules are, so that conntrack sleeps.
const untracked = "untracked"

func wanted(nc net.Conn) string {
	dst, err := OriginalDst(nc.(*net.TCPConn))
	switch {
	case errors.Is(err, ErrNotRedirected):
		return untracked
	case err != nil:
		return err.Error()
	}
	return dst.String()
}

// ask dials as uid and returns what it hears.
func (s *space) ask(t *testing.T, uid int, addr string) string {
	t.Helper()
	var nc net.Conn
	var err error
	s.do(t, func() error {
		setUID(uid)
		defer setUID(0)
		nc, err = net.DialTimeout("tcp", addr, patience)
		return nil
	})
	if err != nil {
		return err.Error()
	}
	defer nc.Close()
	return hear(nc)
}

// setUID changes this thread's uid for files and sockets only: it is the one nftables looks at, and
// root can go back.
func setUID(uid int) { syscall.RawSyscall(syscall.SYS_SETFSUID, uintptr(uid), 0, 0) }

func (s *space) apply(t *testing.T, o Options) {
	t.Helper()
	s.do(t, func() error {
		families, err := Families()
		if err != nil {
			return err
		}
		return Apply(o, families...)
	})
}

const (
	podV4, podV6   = "10.9.0.1", "fd09::1"
	peerV4, peerV6 = "10.9.0.2", "fd09::2"
	// A Service's address: nobody has it, it only routes out of the pod.
	serviceV4, serviceV6 = "10.96.0.1", "fd96::1"
)

// pair is a pod with its servers (proxy and application), and a peer with its own.
func pair(t *testing.T) (pod, peer *space) {
	t.Helper()
	pod, peer = newSpace(t), newSpace(t)
	pod.ip(t, "link", "set", "lo", "up")
	peer.ip(t, "link", "set", "lo", "up")
	pod.ip(t, "link", "add", "eth0", "type", "veth",
		"peer", "name", "eth0", "netns", fmt.Sprint(peer.tid))
	for _, end := range []struct {
		*space
		v4, v6, other4, other6 string
	}{{pod, podV4, podV6, peerV4, peerV6}, {peer, peerV4, peerV6, podV4, podV6}} {
		end.ip(t, "address", "add", end.v4+"/24", "dev", "eth0")
		end.ip(t, "address", "add", end.v6+"/64", "dev", "eth0", "nodad")
		end.ip(t, "link", "set", "eth0", "up")
		end.ip(t, "route", "add", "default", "via", end.other4)
		end.ip(t, "-6", "route", "add", "default", "via", end.other6)
	}
	pod.serve(t, "127.0.0.1:4140", "outbound")
	pod.serve(t, "[::1]:4140", "outbound")
	pod.serve(t, ":4143", "inbound")
	pod.serve(t, ":4191", "admin")
	for _, port := range []string{":8080", ":9090", ":9999"} {
		pod.serve(t, port, "app")
	}
	for _, port := range []string{":80", ":4566", ":4567", ":4568", ":4569"} {
		peer.serve(t, port, "peer")
	}
	return pod, peer
}

func host(ip string, port int) string {
	return netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(port)).String()
}

// expect is one connection and who must answer it, with the original destination the answerer must
// see.
type expect struct {
	name string
	from *space
	uid  int
	to   string
	want string
}

func (e expect) check(t *testing.T) {
	t.Helper()
	if got := e.from.ask(t, e.uid, e.to); got != e.want {
		t.Errorf("%s: %s as uid %d reached %q, want %q", e.name, e.to, e.uid, got, e.want)
	}
}

func TestTrafficIsRedirected(t *testing.T) {
	pod, peer := pair(t)
	o := options()
	o.SkipInbound, o.SkipOutbound = []Ports{Port(9090)}, []Ports{{4567, 4568}}
	pod.apply(t, o)
	for _, f := range []struct{ pod, peer, service, loop string }{
		{podV4, peerV4, serviceV4, "127.0.0.1"}, {podV6, peerV6, serviceV6, "::1"},
	} {
		at := func(ip string, port int) string { return host(ip, port) }
		for _, e := range []expect{
			{"outbound", pod, 0, at(f.peer, 80), "outbound " + at(f.peer, 80)},
			{"outbound by an application's uid", pod, 1000, at(f.peer, 80),
				"outbound " + at(f.peer, 80)},
			{"a Service", pod, 0, at(f.service, 443), "outbound " + at(f.service, 443)},
			{"DNS over TCP", pod, 0, at(f.service, 53), "outbound " + at(f.service, 53)},
			{"the proxy itself", pod, 2102, at(f.peer, 80), "peer " + untracked},
			{"below a skipped range", pod, 0, at(f.peer, 4566), "outbound " + at(f.peer, 4566)},
			{"start of a skipped range", pod, 0, at(f.peer, 4567), "peer " + untracked},
			{"end of a skipped range", pod, 0, at(f.peer, 4568), "peer " + untracked},
			{"above a skipped range", pod, 0, at(f.peer, 4569), "outbound " + at(f.peer, 4569)},
			{"loopback", pod, 0, at(f.loop, 8080), "app " + at(f.loop, 8080)},
			{"the pod's own address", pod, 0, at(f.pod, 8080), "app " + at(f.pod, 8080)},
			{"the proxy to its application", pod, 2102, at(f.pod, 8080), "app " + at(f.pod, 8080)},
			{"inbound", peer, 0, at(f.pod, 8080), "inbound " + at(f.pod, 8080)},
			{"inbound, no such port", peer, 0, at(f.pod, 5555), refused(at(f.pod, 5555))},
			{"inbound to the mesh port", peer, 0, at(f.pod, 4143), "inbound " + at(f.pod, 4143)},
			{"inbound to the outbound port", peer, 0, at(f.pod, 4140), refused(at(f.pod, 4140))},
			{"a Service where nobody is", pod, 0, at(f.service, 5555),
				"outbound " + at(f.service, 5555)},
			{"inbound to the admin port", peer, 0, at(f.pod, 4191), "admin " + at(f.pod, 4191)},
			{"a skipped inbound port", peer, 0, at(f.pod, 9090), "app " + at(f.pod, 9090)},
			{"the proxy's uid elsewhere", peer, 2102, at(f.pod, 8080),
				"inbound " + at(f.pod, 8080)},
		} {
			e.check(t)
		}
	}
}

// refused is what asking an address comes to that refuses connections.
func refused(addr string) string { return "dial tcp " + addr + ": connect: connection refused" }

// A port on which nobody listens refuses connections, as it does without a proxy, and as soon as
// somebody listens they go to the proxy: none comes past it. One that is open goes on when its port
// is closed.
func TestAClosedPortRefuses(t *testing.T) {
	pod, peer := pair(t)
	pod.apply(t, options())
	for _, ip := range []string{podV4, podV6} {
		addr := host(ip, 5555)
		expect{"closed", peer, 0, addr, refused(addr)}.check(t)
		var l net.Listener
		pod.do(t, func() (err error) { l, err = net.Listen("tcp", addr); return err })
		open := peer.connect(t, addr)
		expect{"open", peer, 0, addr, "inbound " + addr}.check(t)
		l.Close()
		expect{"closed again", peer, 0, addr, refused(addr)}.check(t)
		if got := hear(open); got != "inbound "+addr {
			t.Errorf("a connection whose port was closed: %q", got)
		}
	}
}

func TestApplyReplacesAndRemoveUndoes(t *testing.T) {
	pod, peer := pair(t)
	o := options()
	o.SkipInbound = []Ports{Port(9090)}
	pod.apply(t, o)
	open := pod.connect(t, host(peerV4, 80))
	pod.apply(t, o)
	if got := hear(open); got != "outbound "+host(peerV4, 80) {
		t.Errorf("a connection across a second apply: %q", got)
	}
	o.SkipInbound = []Ports{Port(9999)}
	pod.apply(t, o)
	expect{"no longer skipped", peer, 0, host(podV6, 9090), "inbound " + host(podV6, 9090)}.check(t)
	expect{"newly skipped", peer, 0, host(podV6, 9999), "app " + host(podV6, 9999)}.check(t)
	for range 2 {
		pod.do(t, func() error { return Remove(IPv4, IPv6) })
	}
	expect{"after remove", peer, 0, host(podV4, 8080), "app " + untracked}.check(t)
	expect{"after remove", pod, 0, host(peerV6, 80), "peer " + untracked}.check(t)
}

func (s *space) connect(t *testing.T, addr string) net.Conn {
	t.Helper()
	var nc net.Conn
	s.do(t, func() (err error) {
		nc, err = net.DialTimeout("tcp", addr, patience)
		return err
	})
	t.Cleanup(func() { nc.Close() })
	return nc
}

func TestLargestRuleSet(t *testing.T) {
	pod, peer := pair(t)
	o := options()
	for i := range MaxRanges {
		o.SkipInbound = append(o.SkipInbound, Ports{uint16(10000 + 10*i), uint16(10005 + 10*i)})
	}
	o.SkipInbound[MaxRanges-1] = Port(9999)
	o.SkipOutbound = o.SkipInbound
	pod.apply(t, o)
	pod.apply(t, o)
	skipped := host(podV6, 9999)
	expect{"last of the skipped ports", peer, 0, skipped, "app " + skipped}.check(t)
	expect{"not skipped", peer, 0, host(podV6, 8080), "inbound " + host(podV6, 8080)}.check(t)
}

func TestUDPIsLeftAlone(t *testing.T) {
	pod, peer := pair(t)
	pod.apply(t, options())
	var server net.PacketConn
	var client net.Conn
	peer.do(t, func() (err error) {
		server, err = net.ListenPacket("udp", host(peerV4, 53))
		return err
	})
	defer server.Close()
	pod.do(t, func() (err error) { client, err = net.Dial("udp", host(peerV4, 53)); return err })
	defer client.Close()
	fmt.Fprint(client, "query")
	server.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 16)
	if n, _, err := server.ReadFrom(buf); err != nil || string(buf[:n]) != "query" {
		t.Fatalf("%q %v", buf[:n], err)
	}
}

// A packet outside of a connection's window must not be delivered untranslated: the pod's kernel
// would answer from a port where it has no such connection, and its RST would end the healthy one.
func TestInvalidPacketsAreDropped(t *testing.T) {
	pod, peer := pair(t)
	pod.apply(t, options())
	before := pod.dropped(t, "invalid_in")
	nc := peer.connect(t, host(podV4, 8080))
	peer.sendOutOfWindow(t, nc)
	for deadline := time.Now().Add(patience); pod.dropped(t, "invalid_in") == before; {
		if time.Now().After(deadline) {
			t.Fatal("the packet was not dropped as invalid")
		}
		runtime.Gosched()
	}
	if got := hear(nc); got != "inbound "+host(podV4, 8080) {
		t.Errorf("the connection afterwards: %q", got)
	}
}

// Without NET_ADMIN the error says what to give.
func TestApplyWithoutPrivileges(t *testing.T) {
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: this thread has lost its capabilities
		const nobody = 65534
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			failed <- err
			return
		}
		_, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, nobody, nobody, nobody)
		if errno != 0 {
			failed <- errno
			return
		}
		failed <- Apply(options(), IPv4)
	}()
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "NET_ADMIN") {
		t.Fatal(err)
	}
}
