package tunnel

import (
	"cmp"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/detect"
)

const (
	// A flow that waits has no buffer. Once there is something to read it takes a small one, and a
	// large one after a read that would have filled it: a slow reader of small messages costs
	// little, and bulk moves eight TLS records at a time. Where many that are slow have large ones,
	// the others do with small ones.
	smallCopy = 4 << 10
	largeCopy = 128 << 10
	// spliceAfter: splicing pays beyond some 32 KiB, and takes two system calls for what is small.
	spliceAfter = 64 << 10
	// deadlineSlack: a read deadline is moved this seldom, for moving it costs as much as reading.
	deadlineSlack = config.IdleTCP / 60
)

var (
	smallBuffers = sync.Pool{New: func() any { return new([smallCopy]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([largeCopy]byte) }}
)

// flow is one direction of a tunnel. It belongs to one goroutine.
type flow struct {
	t        *tunnel
	dst, src leg
	count    *atomic.Uint64
	line     *detect.Line    // src's first, which must not be HTTP's; nil: it is over
	raw      syscall.RawConn // src's
	tls      *TLSConn        // src, if it is one
	to       syscall.RawConn // dst's, if both legs are TCP: then bulk is spliced
	weight   int             // bytes that it holds while it passes on a large buffer

	deadline time.Time // set on src
	moved    uint64
	large    bool // the last read would have filled a small buffer

	// Of the read under way.
	buf  []byte
	n    int
	err  error
	pipe *pipe
}

func newFlow(t *tunnel, dst, src leg, count *atomic.Uint64) *flow {
	f := &flow{t: t, dst: dst, src: src, count: count, raw: rawOf(src), weight: largeCopy}
	f.tls, _ = src.(*TLSConn)
	if src == t.down {
		f.line = t.line
	}
	_, sealed := dst.(*TLSConn)
	if f.tls == nil && !sealed && canSplice {
		f.to = rawOf(dst)
	}
	if sealed {
		f.weight += sealedSize
	}
	if f.tls != nil {
		f.tls.under.raw = f.raw
	}
	return f
}

// run moves bytes until src ends (io.EOF) or something breaks.
func (f *flow) run() error {
	err := f.extend(time.Now())
	for err == nil {
		err = f.receive()
		if f.n > 0 {
			err = cmp.Or(f.passOn(), err)
		}
		f.release()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = f.t.overslept(f.src)
		}
	}
	return err
}

func (f *flow) passOn() error {
	if f.speaksHTTP() {
		return errLateHTTP
	}
	now := time.Now()
	f.t.last.Store(now.UnixNano())
	f.count.Add(uint64(f.n))
	f.moved += uint64(f.n)
	if err := f.send(); err != nil {
		return err
	}
	return f.extend(now)
}

// speaksHTTP reports whether the first line turns out to be a request's in what receive took.
func (f *flow) speaksHTTP() bool {
	if f.line == nil {
		return false
	}
	request := f.line.Next(f.buf[:f.n])
	if f.line.Over() {
		f.line = nil
	}
	return request
}

// extend keeps src's deadline ahead.
func (f *flow) extend(now time.Time) error {
	if f.deadline.Sub(now) > config.IdleTCP-deadlineSlack {
		return nil
	}
	f.deadline = now.Add(config.IdleTCP)
	return f.src.SetReadDeadline(f.deadline)
}

// receive waits for bytes and takes them into buf, or into the pipe.
func (f *flow) receive() error {
	f.n, f.err = 0, nil
	switch {
	case f.tls != nil:
		return f.decrypt()
	case f.raw == nil:
		f.take()
		f.n, f.err = f.src.Read(f.buf)
		return f.err
	}
	if err := f.raw.Read(f.try); err != nil {
		return err
	}
	f.large = f.n >= smallCopy
	if f.err == nil && f.n == 0 {
		return io.EOF
	}
	return f.err
}

// try takes what is there; false: nothing is, and the poller says when that changes.
func (f *flow) try(fd uintptr) bool {
	if f.to != nil && f.large && f.moved >= spliceAfter && f.line == nil && f.pipe == nil {
		f.pipe = f.t.c.pipes.get()
	}
	if f.pipe != nil {
		f.n, f.err = f.pipe.fill(fd)
	} else {
		f.take()
		f.n, f.err = readFD(fd, f.buf)
	}
	if f.err == syscall.EAGAIN {
		f.release()
		return false
	}
	return true
}

// decrypt takes all the records that are here, as far as they fit.
func (f *flow) decrypt() error {
	for {
		f.take()
		for f.n < len(f.buf) && f.err == nil {
			var n int
			n, f.err = f.tls.Read(f.buf[f.n:])
			f.n += n
		}
		f.large = f.n >= smallCopy
		switch {
		case f.err != error(dry):
			return f.err
		case f.n > 0:
			return nil
		}
		f.err = nil
		f.release()
		if err := f.raw.Read(readableFD); err != nil {
			return err
		}
	}
}

// readableFD waits for anything at all: bytes, the end or an error.
func readableFD(fd uintptr) bool {
	var b [1]byte
	_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return err != syscall.EAGAIN
}

// awaitReset returns when src was reset after its orderly end, or when the tunnel has idled.
func (f *flow) awaitReset() error {
	for f.raw != nil {
		var reset error
		err := f.raw.Read(func(fd uintptr) bool {
			n, e := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR)
			if e == nil && n != 0 {
				reset = syscall.Errno(n)
			}
			return reset != nil
		})
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = f.t.overslept(f.src)
		}
		if err = errors.Join(reset, err); err != nil {
			return err
		}
	}
	return nil
}

func (f *flow) take() {
	switch {
	case f.buf != nil:
	case f.large && f.t.c.Held.Share() >= largeCopy:
		f.buf = largeBuffers.Get().(*[largeCopy]byte)[:]
		f.t.c.Held.Add(f.weight)
	default:
		f.buf = smallBuffers.Get().(*[smallCopy]byte)[:]
	}
}

// send passes on what receive took.
func (f *flow) send() error {
	if f.pipe != nil {
		return f.pipe.drain(f.to, f.n)
	}
	_, err := f.dst.Write(f.buf[:f.n])
	return err
}

func (f *flow) release() {
	switch len(f.buf) {
	case smallCopy:
		smallBuffers.Put((*[smallCopy]byte)(f.buf))
	case largeCopy:
		largeBuffers.Put((*[largeCopy]byte)(f.buf))
		f.t.c.Held.Add(-f.weight)
	}
	f.buf = nil
	if f.pipe != nil {
		f.t.c.pipes.put(f.pipe)
		f.pipe = nil
	}
}
