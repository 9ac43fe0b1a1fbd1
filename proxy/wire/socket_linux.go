package wire

import (
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Flags of a socket's state.
const (
	canRead   uint32 = 1 << iota // a read may bring something: until one was short
	canWrite                     // a write may take something: until one was short
	hungUp                       // the peer has ended its half: no read has to wait again
	broken                       // both halves have ended: no write has to wait again
	readLate                     // the read deadline has passed
	writeLate                    // the write deadline has passed
	woken                        // Wake was called: the reader is to have a turn
)

const (
	forReader = canRead | readLate | woken // gives the reader a turn
	dead      = broken | hungUp | canRead | canWrite
)

func flagsOf(events uint32) (flags uint32) {
	if events&syscall.EPOLLRDHUP != 0 {
		flags |= hungUp | canRead
	}
	if events&(syscall.EPOLLHUP|syscall.EPOLLERR) != 0 {
		flags |= dead
	}
	if events&syscall.EPOLLIN != 0 {
		flags |= canRead
	}
	if events&syscall.EPOLLOUT != 0 {
		flags |= canWrite
	}
	return flags
}

// socket is a TCP connection on a loop. Its Read and Write wait as those of package net do, each
// for one goroutine at a time; on the loop itself readNow and writeNow are used.
type socket struct {
	fd            int
	serial        int32 // differs from that of any other socket that had the descriptor
	loop          *loop
	local, remote net.Addr
	// refs counts the system calls under way, and one for being open. Once the socket is closed,
	// closing is added.
	refs    atomic.Int32
	state   atomic.Uint32
	in, out waiter

	reader *Conn // guarded by the loop's mutex: given turns since Start and until they are over
	queued bool  // guarded by the loop's mutex: a turn is due
}

const closing = -1 << 30

var serials atomic.Int32

// adopt takes nc over, if it is TCP: nc is closed then, and the socket goes on without it.
func adopt(nc net.Conn) (*socket, error) {
	tc, ok := nc.(*net.TCPConn)
	if !ok {
		return nil, fmt.Errorf("wire: %T is no TCP connection", nc)
	}
	raw, err := tc.SyscallConn()
	if err != nil {
		return nil, err
	}
	l, err := nextLoop()
	if err != nil {
		return nil, err
	}
	s := &socket{loop: l, serial: serials.Add(1), local: tc.LocalAddr(), remote: tc.RemoteAddr()}
	var dupErr error
	err = raw.Control(func(fd uintptr) {
		s.fd, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err != nil {
		return nil, err
	}
	if dupErr != nil {
		return nil, fmt.Errorf("wire: fcntl: %w", dupErr)
	}
	s.refs.Store(1)
	s.state.Store(canRead | canWrite)
	if err := l.add(s); err != nil {
		syscall.Close(s.fd)
		return nil, err
	}
	tc.Close()
	return s, nil
}

// acquire keeps the descriptor open until release; false: it is closed.
func (s *socket) acquire() bool {
	for {
		n := s.refs.Load()
		if n < 0 {
			return false
		}
		if s.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (s *socket) release() {
	if s.refs.Add(-1) == closing {
		syscall.Close(s.fd)
	}
}

// Close ends the connection and whoever waits for it.
func (s *socket) Close() error {
	for {
		n := s.refs.Load()
		if n < 0 {
			return net.ErrClosed
		}
		if s.refs.CompareAndSwap(n, n+closing) {
			break
		}
	}
	s.loop.remove(s)
	s.in.stop()
	s.out.stop()
	s.notify(dead)
	s.release()
	return nil
}

// note sets flags and wakes the goroutine that waits for them. A reader on the loop is not told.
func (s *socket) note(flags uint32) {
	s.state.Or(flags)
	if flags&forReader != 0 {
		s.in.wake()
	}
	if flags&(canWrite|writeLate) != 0 {
		s.out.wake()
	}
}

// notify sets flags that no event of the kernel's brings, and tells a reader on the loop as well.
func (s *socket) notify(flags uint32) {
	s.note(flags)
	if flags&forReader != 0 {
		s.loop.kick(s)
	}
}

func (s *socket) start(c *Conn) { s.loop.start(s, c) }

// turn runs on the loop; more: there is more to do.
func (s *socket) turn() (more bool) {
	c := s.reader // not locked: loop.start comes before this turn, loop.stop is called below
	if c == nil {
		return false
	}
	wasWoken := s.state.And(^woken)&woken != 0
	more, over := c.step(wasWoken)
	if over {
		s.loop.stop(s)
		go c.ended()
	}
	return more
}

func (s *socket) notifyWoken() { s.notify(woken) }

// yield lets others run on this processor first, if there are any. It holds up the loop, as any
// system call does.
func (s *socket) yield() { syscall.RawSyscall(syscall.SYS_SCHED_YIELD, 0, 0, 0) }

func (s *socket) afterTurns(f Flusher) { s.loop.flushers = append(s.loop.flushers, f) }

// readable says whether a read may bring something, or must say that a deadline has passed.
func (s *socket) readable() bool { return s.state.Load()&(canRead|readLate) != 0 }

// assumeReadable makes the next read ask the kernel, though no event came.
func (s *socket) assumeReadable() { s.state.Or(canRead) }

// readNow never waits: EAGAIN means that the loop will say when there is something to read. A read
// that does not fill p has taken all there was, so what comes later brings another event. The end
// of the stream brings no other event: hungUp says that it has to be read.
func (s *socket) readNow(p []byte) (int, error) {
	if !s.acquire() {
		return 0, net.ErrClosed
	}
	defer s.release()
	switch state := s.state.Load(); {
	case state&readLate != 0:
		return 0, os.ErrDeadlineExceeded
	case state&canRead == 0:
		return 0, syscall.EAGAIN
	}
	s.clearFlag(canRead, hungUp)
	for {
		n, err := readSocket(uintptr(s.fd), p)
		if err == syscall.EINTR {
			continue
		}
		if n == len(p) {
			s.state.Or(canRead)
		}
		return max(n, 0), err
	}
}

// clearFlag clears a flag before the system call that may make it wrong, so that an event which
// comes after the call sets it again. The flag stays if forGood is set.
func (s *socket) clearFlag(flag, forGood uint32) {
	if s.state.And(^flag)&forGood != 0 {
		s.state.Or(flag)
	}
}

func (s *socket) writeNow(p []byte) (int, error) {
	if !s.acquire() {
		return 0, net.ErrClosed
	}
	defer s.release()
	s.clearFlag(canWrite, broken)
	for {
		n, err := writeSocket(uintptr(s.fd), p)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

func (s *socket) Read(p []byte) (int, error) {
	for {
		n, err := s.readNow(p)
		if err != syscall.EAGAIN {
			return n, err
		}
		s.awaitInput()
	}
}

func (s *socket) awaitInput() { s.in.await(&s.state, canRead|readLate) }

// Write waits until the kernel has taken all of p.
func (s *socket) Write(p []byte) (total int, err error) {
	for total < len(p) {
		if s.state.Load()&writeLate != 0 {
			return total, os.ErrDeadlineExceeded
		}
		n, err := s.writeNow(p[total:])
		total += n
		if err != nil && err != syscall.EAGAIN {
			return total, err
		}
		if err != nil {
			s.out.await(&s.state, canWrite|writeLate)
		}
	}
	return total, nil
}

func (s *socket) LocalAddr() net.Addr  { return s.local }
func (s *socket) RemoteAddr() net.Addr { return s.remote }

func (s *socket) SetReadDeadline(t time.Time) error  { return s.setDeadline(&s.in, t, readLate) }
func (s *socket) SetWriteDeadline(t time.Time) error { return s.setDeadline(&s.out, t, writeLate) }

func (s *socket) SetDeadline(t time.Time) error {
	s.SetWriteDeadline(t) // fails as the other does
	return s.SetReadDeadline(t)
}

// SetLinger is net.TCPConn's; with 0 a Close is a reset.
func (s *socket) SetLinger(seconds int) error {
	return s.control(func() error {
		l := &syscall.Linger{Onoff: 1, Linger: int32(seconds)}
		return syscall.SetsockoptLinger(s.fd, syscall.SOL_SOCKET, syscall.SO_LINGER, l)
	})
}

func (s *socket) CloseWrite() error {
	return s.control(func() error { return syscall.Shutdown(s.fd, syscall.SHUT_WR) })
}

// pending is the kernel's SO_ERROR.
func (s *socket) pending() (err error) {
	s.control(func() error {
		if n, e := syscall.GetsockoptInt(s.fd, syscall.SOL_SOCKET, syscall.SO_ERROR); e == nil &&
			n != 0 {
			err = syscall.Errno(n)
		}
		return nil
	})
	return err
}

func (s *socket) control(f func() error) error {
	if !s.acquire() {
		return net.ErrClosed
	}
	defer s.release()
	return f()
}
