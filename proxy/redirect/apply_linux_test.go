package redirect

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

func TestExplain(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{os.NewSyscallError("sendmsg", syscall.EPERM), "NET_ADMIN"},
		{fmt.Errorf("conn.Receive: %w", errors.Join(syscall.ENOENT, syscall.ENOENT)), "modprobe"},
		{os.NewSyscallError("socket", syscall.EPROTONOSUPPORT), "modprobe"},
		{syscall.EOPNOTSUPP, "nft_redir"},
		{syscall.EBUSY, "redirect: apply rules: device or resource busy"},
	} {
		err := explain("apply", tt.err)
		if !strings.Contains(err.Error(), tt.want) || !errors.Is(err, tt.err) {
			t.Errorf("%v: %v", tt.err, err)
		}
	}
}

// Outside of a redirected namespace the answer is the socket's own address, or that nothing is
// redirected here.
func TestOriginalDstWithoutRules(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0", ":0"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		client, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		server, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer server.Close()
		got, err := OriginalDst(server.(*net.TCPConn))
		own := server.LocalAddr().(*net.TCPAddr).AddrPort()
		if !errors.Is(err, ErrNotRedirected) &&
			(err != nil || got.Port() != own.Port() || got.Addr() != own.Addr().Unmap()) {
			t.Errorf("%s: %v %v, want %v or ErrNotRedirected", addr, got, err, own)
		}
	}
}

func TestOriginalDstOfAClosedConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	if got, err := OriginalDst(nc.(*net.TCPConn)); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("%v %v", got, err)
	}
}
