//go:build pairings

package proxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/test/openfiles"
)

const (
	// containerLimit is what the injector gives a proxy, bytes.
	containerLimit = 128 << 20
	slowReaders    = 300
	// webSockets is how many one pod is to bear. A proxy has two connections for each, and so has
	// this process.
	webSockets = 10_000
	ownFiles   = 512 // beside those
	openers    = 16  // that open connections at the same time
)

// serveCrowd is an application for many: /endless has no end, and an upgraded connection echoes.
func serveCrowd(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/endless":
		for b := make([]byte, 32<<10); ; {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	case r.Header.Get("Upgrade") != "":
		nc, buf, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer nc.Close()
		io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"+
			"Upgrade: websocket\r\n\r\n")
		io.Copy(nc, buf)
	}
}

// Three hundred callers read nothing of an answer without an end. Others are served meanwhile, and
// the proxies stay within their containers.
func TestThreeHundredSlowReaders(t *testing.T) {
	out, in, pids := processesBefore(t, app(t, http.HandlerFunc(serveCrowd)))
	c := http1Client(t)
	for name, addr := range map[string]string{"two hops": out, "one hop": in} {
		for range slowReaders {
			nc, err := net.Dial("tcp", addr)
			check(t, err)
			defer nc.Close()
			check(t, nc.(*net.TCPConn).SetReadBuffer(4<<10))
			say(t, nc, "GET /endless HTTP/1.1\r\nHost: web\r\n\r\n")
		}
		for began := time.Now(); time.Since(began) < 5*time.Second; {
			if status, _, _ := get(t, c, "http://"+addr+"/"); status != 200 {
				t.Fatalf("%s: somebody else got %d", name, status)
			}
			within128(t, name, pids)
		}
	}
}

func within128(t *testing.T, what string, pids []int) {
	t.Helper()
	for _, pid := range pids {
		if n := resident(t, pid); n > containerLimit {
			t.Fatalf("%s: a proxy takes %d MiB", what, n>>20)
		}
	}
}

// Ten thousand WebSockets, or as many as the limit of open files has room for, go through one pod's
// proxy, and each is carried when all of them are there.
func TestTenThousandWebSockets(t *testing.T) {
	files, err := openfiles.Raise(2*webSockets + ownFiles)
	check(t, err)
	n := min(webSockets, (int(files)-ownFiles)/2)
	if n < webSockets {
		t.Logf("the limit of open files is %d: %d WebSockets", files, n)
	}
	_, in, pids := processesBefore(t, app(t, http.HandlerFunc(serveCrowd)))
	idle := resident(t, pids[1])
	sockets := make([]net.Conn, n)
	each(t, n, func(i int) (err error) {
		sockets[i], err = openSocket(in)
		return err
	})
	defer func() {
		for _, nc := range sockets {
			if nc != nil {
				nc.Close()
			}
		}
	}()
	within128(t, "WebSockets", pids)
	t.Logf("%d WebSockets: %d bytes each", n, (resident(t, pids[1])-idle)/int64(n))
	each(t, n, func(i int) error { return echoed(sockets[i]) })
}

// each does something n times, some at once.
func each(t *testing.T, n int, do func(i int) error) {
	t.Helper()
	var next atomic.Int64
	var all sync.WaitGroup
	for range openers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !t.Failed(); i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					t.Errorf("%d: %v", i, err)
				}
			}
		})
	}
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func openSocket(addr string) (net.Conn, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(time.Minute)) // fails only on a closed connection
	io.WriteString(nc, "GET /socket HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\n"+
		"Upgrade: websocket\r\n\r\n") // an error is an answer, and read
	resp, err := http.ReadResponse(bufio.NewReaderSize(nc, 1<<10), nil)
	if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
		err = errors.New(resp.Status)
	}
	if err = errors.Join(err, echoed(nc)); err != nil {
		nc.Close()
		return nil, fmt.Errorf("open a WebSocket: %w", err)
	}
	return nc, nil
}

// echoed says a byte and hears it.
func echoed(nc net.Conn) error {
	nc.SetDeadline(time.Now().Add(time.Minute))
	b := [1]byte{'x'}
	if _, err := nc.Write(b[:]); err != nil {
		return err
	}
	_, err := io.ReadFull(nc, b[:])
	return err
}
