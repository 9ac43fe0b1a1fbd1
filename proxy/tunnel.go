package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/metric"
)

// copySize is a direction's buffer while it moves bytes: two TLS records' worth.
const copySize = 32 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// leg is one side of an opaque connection: TCP, or TLS over it.
type leg interface {
	net.Conn
	CloseWrite() error
}

// tunnel is an opaque connection's two legs.
type tunnel struct {
	p        *Proxy
	down, up leg
	caller   string       // inbound: whom the policy is asked about
	last     atomic.Int64 // when bytes last moved, either way; unix nanoseconds
}

// newTunnel joins two connections. What is accepted is TCP, or TLS over it.
func (p *Proxy) newTunnel(down net.Conn, up leg) *tunnel {
	t := &tunnel{p: p, down: down.(leg), up: up}
	t.touch()
	return t
}

// carry moves bytes both ways until both directions have ended, or neither moved any for config.IdleTCP. The end of one
// direction is passed on as such, and the other goes on. A tunnel cannot be asked to end, so its certificate's end is its.
func (t *tunnel) carry(peeked []byte, cell *metric.Cell) {
	cell.OpenConnection()
	defer cell.CloseConnection()
	defer t.p.trackCloser(t)()
	defer t.watch(t.down)()
	defer t.watch(t.up)()
	var back sync.WaitGroup
	back.Go(func() { t.copy(t.down, t.up, &cell.ReadBytes) })
	if _, err := t.up.Write(peeked); err == nil {
		cell.WrittenBytes.Add(uint64(len(peeked)))
		t.copy(t.up, t.down, &cell.WrittenBytes)
	} else {
		t.Close()
	}
	back.Wait()
}

func (t *tunnel) watch(l leg) (stop func()) {
	w := watched{from: l.RemoteAddr(), drain: func() { t.Close() }, end: func() { t.Close() }}
	if tc, ok := l.(*tls.Conn); ok {
		state := tc.ConnectionState()
		w.tls = &state
	}
	return t.p.watchMesh(w)
}

func (t *tunnel) touch() { t.last.Store(time.Now().UnixNano()) }

// Close ends both legs and so both copies.
func (t *tunnel) Close() error {
	return errors.Join(cut(t.down), cut(t.up))
}

// cut closes without TLS's alert: that would wait for a peer that does not read, and call the end an orderly one.
func cut(l leg) error {
	if tc, ok := l.(*tls.Conn); ok {
		return tc.NetConn().Close()
	}
	return l.Close()
}

// copy moves one direction's bytes. After an error that is no end, nothing sensible can follow: both legs close.
func (t *tunnel) copy(dst, src leg, count *atomic.Uint64) {
	for {
		if err := t.await(src); err != nil {
			t.Close()
			return
		}
		buf := copyBuffers.Get().(*[copySize]byte)
		n, err := src.Read(buf[:])
		if n > 0 {
			t.touch()
			count.Add(uint64(n))
			if _, werr := dst.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		copyBuffers.Put(buf)
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			dst.CloseWrite()
			return
		case errors.Is(err, os.ErrDeadlineExceeded) && t.idleFor() < config.IdleTCP:
		default:
			t.Close()
			return
		}
	}
}

func (t *tunnel) idleFor() time.Duration { return time.Since(time.Unix(0, t.last.Load())) }

func (t *tunnel) await(src leg) error {
	return src.SetReadDeadline(time.Now().Add(config.IdleTCP))
}
