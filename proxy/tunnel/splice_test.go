//go:build linux

package tunnel

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/test/await"
)

// joined is a tunnel between two TCP connections, whose far ends are the test's.
func joined(
	t *testing.T, p *Carrier,
) (client, server *net.TCPConn, cell *metric.Cell, ended chan struct{}) {
	t.Helper()
	l := listen(t)
	dial := func() (near, far *net.TCPConn) {
		nc, err := net.Dial("tcp", l.Addr().String())
		check(t, err)
		other, err := l.Accept()
		check(t, err)
		t.Cleanup(func() { nc.Close(); other.Close() })
		check(t, nc.SetDeadline(time.Now().Add(30*time.Second)))
		return nc.(*net.TCPConn), other.(*net.TCPConn)
	}
	client, down := dial()
	server, up := dial()
	cell, ended = p.Metrics.Cell(metric.Labels{}), make(chan struct{})
	go func() {
		defer close(ended)
		p.newTunnel(down, up).carry(Words{}, cell, nil)
		down.Close()
		up.Close()
	}()
	return client, server, cell, ended
}

// Bulk between two plaintext connections goes through a pipe, which is given back; talk does not.
func TestOnlyBulkIsSpliced(t *testing.T) {
	for name, tt := range map[string]struct {
		pieces, size int
		spliced      bool
	}{"talk": {2000, 100, false}, "bulk": {64, 256 << 10, true}} {
		t.Run(name, func(t *testing.T) {
			p := newCarrier(t)
			t.Cleanup(p.pipes.close)
			client, server, cell, ended := joined(t, p)
			piece, got := make([]byte, tt.size), make([]byte, tt.size)
			for range tt.pieces {
				_, err := client.Write(piece)
				check(t, err)
				_, err = io.ReadFull(server, got)
				check(t, err)
			}
			check(t, client.CloseWrite())
			_, err := server.Read(got)
			if err != io.EOF {
				t.Fatal(err)
			}
			check(t, server.CloseWrite())
			await.Receive(t, "the tunnel has ended", ended)
			if n := cell.WrittenBytes.Load(); n != uint64(tt.pieces*tt.size) {
				t.Errorf("%d bytes counted, want %d", n, tt.pieces*tt.size)
			}
			if spliced := len(p.pipes.free) > 0; spliced != tt.spliced || p.pipes.used != 0 {
				t.Errorf("spliced %v, %d pipes in use", spliced, p.pipes.used)
			}
		})
	}
}

// Without a pipe to be had, bulk is copied.
func TestPipesAreBounded(t *testing.T) {
	p := newCarrier(t)
	p.pipes.used = maxPipes
	client, server, _, ended := joined(t, p)
	go func() {
		client.Write(make([]byte, 8<<20))
		client.CloseWrite()
	}()
	if n, err := io.Copy(io.Discard, struct{ io.Reader }{server}); n != 8<<20 || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	check(t, server.CloseWrite())
	await.Receive(t, "the tunnel has ended", ended)
	if p.pipes.used != maxPipes || len(p.pipes.free) != 0 {
		t.Errorf("%d pipes in use, %d free", p.pipes.used, len(p.pipes.free))
	}
}
