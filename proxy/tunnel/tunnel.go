package tunnel

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/detect"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
)

// tunnel is an opaque connection's two legs.
type tunnel struct {
	c              *Carrier
	down, up       leg
	last           atomic.Int64          // when bytes last moved, either way; unix nanoseconds
	ended          atomic.Int32          // directions that came to an orderly end
	said, answered atomic.Uint64         // bytes of the caller's and of the server's
	broke          atomic.Pointer[error] // what cut it first; nil: nothing has
	// The caller's first, while it may yet be a request's; of the goroutine that copies to up.
	line *detect.Line
}

// newTunnel joins two connections. What is accepted is TCP, or TLS over it.
func (c *Carrier) newTunnel(down net.Conn, up leg) *tunnel {
	t := &tunnel{c: c, down: down.(leg), up: up}
	t.touch()
	return t
}

// carry moves bytes both ways until both directions have ended, or neither moved any for
// config.IdleTCP. The end of one direction is passed on as such, and the other goes on; a reset,
// and an end that is not orderly, is passed on as a reset. A tunnel cannot be asked to end, so its
// certificate's end is its.
func (t *tunnel) carry(w Words, cell *metric.Cell, r *outcome.Record) {
	defer t.show(cell, r)
	cell.OpenConnection()
	defer cell.CloseConnection()
	defer t.c.track(t)()
	defer t.watch(t.down)()
	defer t.watch(t.up)()
	var back sync.WaitGroup
	back.Go(func() { t.answered.Add(t.copy(t.down, t.up, &cell.ReadBytes)) })
	if err := t.begin(w, cell); err == nil {
		t.said.Add(t.copy(t.up, t.down, &cell.WrittenBytes))
	} else {
		t.cut(err)
	}
	back.Wait()
}

// begin passes on what the caller says first.
func (t *tunnel) begin(w Words, cell *metric.Cell) (err error) {
	cell.ReadBytes.Add(uint64(len(w.answer)))
	t.answered.Add(uint64(len(w.answer)))
	t.line = w.line
	if w.caller != nil {
		return t.hear(w.caller, cell)
	}
	return t.pass(w.rest, cell)
}

// hear passes on what the caller says to a server that spoke first, until it is known what that is.
// It ends with a caller that ends its half: whoever reads next sees that too.
func (t *tunnel) hear(r *detect.Reader, cell *metric.Cell) error {
	for {
		f, err := r.Read()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, detect.ErrInterrupted): // by the server's first word, which is known
			continue
		case err != nil:
			return err
		case f.Protocol.IsHTTP():
			return errLateHTTP
		case f.Silent():
			err = t.overslept(t.down)
		default:
			t.touch()
			err = t.pass(r.Untaken(), cell)
		}
		if t.line = detect.Follow(f.Bytes); err != nil || !f.Silent() && !f.Unsure {
			return err
		}
	}
}

// pass gives the server some of the caller's bytes.
func (t *tunnel) pass(b []byte, cell *metric.Cell) error {
	if _, err := t.up.Write(b); err != nil {
		return err
	}
	cell.WrittenBytes.Add(uint64(len(b)))
	t.said.Add(uint64(len(b)))
	return nil
}

func (t *tunnel) watch(l leg) (stop func()) {
	tl, ok := l.(*TLSConn)
	if !ok {
		return func() {}
	}
	state, end := tl.ConnectionState(), func() { t.cut(errCertificate) }
	return t.c.Watch(&state, l.RemoteAddr(), end, end)
}

func (t *tunnel) touch() { t.last.Store(time.Now().UnixNano()) }

// Close cuts both legs and so ends both copies.
func (t *tunnel) Close() error { return cut(t.down, t.up) }

// cut cuts both legs because of err.
func (t *tunnel) cut(err error) {
	t.broke.CompareAndSwap(nil, &err)
	t.Close()
}

var (
	errCertificate = errors.New("the certificate that the connection was made with has ended")
	errForbidden   = errors.New("the policy no longer allows the connection")
)

// copy carries one direction, and returns how much of it. After an error that is no end, nothing
// sensible can follow: both legs are cut.
func (t *tunnel) copy(dst, src leg, count *atomic.Uint64) (moved uint64) {
	f := newFlow(t, dst, src, count)
	err := f.run()
	if errors.Is(err, io.EOF) {
		err = t.halfClose(f)
	}
	if err != nil {
		t.cut(err)
	}
	return f.moved
}

// halfClose passes the end of f on and stays until the other direction has ended too, for src may
// yet be reset, and dst must hear of that though nobody writes to src.
func (t *tunnel) halfClose(f *flow) error {
	if err := f.dst.CloseWrite(); err != nil {
		return err
	}
	if t.ended.Add(1) == 2 {
		return errors.Join(t.down.SetReadDeadline(past), t.up.SetReadDeadline(past))
	}
	err := f.awaitReset()
	if t.ended.Load() == 2 {
		return nil
	}
	return err
}

// past is a deadline that wakes a reader.
var past = time.Unix(1, 0)

// overslept says what a deadline on l means: nothing if the other direction still moves.
func (t *tunnel) overslept(l leg) error {
	left := config.IdleTCP - time.Since(time.Unix(0, t.last.Load()))
	if left <= 0 || t.ended.Load() == 2 {
		return os.ErrDeadlineExceeded
	}
	return l.SetReadDeadline(time.Now().Add(left))
}
