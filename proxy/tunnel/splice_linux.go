package tunnel

import (
	"os"
	"sync"
	"syscall"
)

const (
	canSplice = true
	// maxPipes bounds the descriptors, two a pipe, and the memory that slow readers hold in them;
	// beyond it bytes are copied. A user without privileges may have 16,384 pages in pipes before
	// the kernel makes each one tiny.
	maxPipes = 64
	// keptPipes stay open for the next flow: making one costs three system calls.
	keptPipes = 4
	pipeSize  = 256 << 10

	spliceMove     = 1 // SPLICE_F_MOVE
	spliceNonblock = 2 // SPLICE_F_NONBLOCK
	setPipeSize    = 1031
)

// pipe carries bytes from one socket to another inside the kernel. It is held only while bytes are
// in it.
type pipe struct {
	r, w int
	held int
}

// pipes are the proxy's.
type pipes struct {
	mu   sync.Mutex // guards everything below
	free []*pipe
	used int
}

// get returns nil when there are none to be had.
func (s *pipes) get() *pipe {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		p := s.free[n-1]
		s.free = s.free[:n-1]
		s.used++
		return p
	}
	if s.used >= maxPipes {
		return nil
	}
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		return nil
	}
	// One of the default size serves too.
	syscall.Syscall(syscall.SYS_FCNTL, uintptr(fds[1]), setPipeSize, pipeSize)
	s.used++
	return &pipe{r: fds[0], w: fds[1]}
}

// put takes p back. One with bytes in it, whose reader failed, is no use to others.
func (s *pipes) put(p *pipe) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used--
	if p.held == 0 && len(s.free) < keptPipes {
		s.free = append(s.free, p)
		return
	}
	p.close()
}

func (s *pipes) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.free {
		p.close()
	}
	s.free = nil
}

func (p *pipe) close() {
	syscall.Close(p.r)
	syscall.Close(p.w)
}

// fill takes what fd has, as far as there is room.
func (p *pipe) fill(fd uintptr) (int, error) {
	n, err := splice(int(fd), p.w)
	p.held += n
	return n, err
}

// drain waits until to has taken all n bytes.
func (p *pipe) drain(to syscall.RawConn, n int) error {
	for p.held > 0 {
		var err error
		werr := to.Write(func(fd uintptr) bool {
			n, err = splice(p.r, int(fd))
			return err != syscall.EAGAIN
		})
		switch {
		case werr != nil:
			return werr
		case err != nil:
			return os.NewSyscallError("splice", err)
		case n == 0:
			return syscall.EPIPE
		}
		p.held -= n
	}
	return nil
}

func splice(from, to int) (int, error) {
	for {
		n, err := syscall.Splice(from, nil, to, nil, pipeSize, spliceMove|spliceNonblock)
		if err != syscall.EINTR {
			return max(int(n), 0), err
		}
	}
}
