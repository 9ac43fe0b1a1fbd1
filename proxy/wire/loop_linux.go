package wire

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// maxEvents are taken from the kernel at a time. What their readers write waits until the last
	// of them has had its turn: with 256 the p99 over two hops of HTTP/1 is 4 % higher, and with 8
	// there are 7 % fewer requests.
	maxEvents = 32
	// maxCycles are run before the runtime's poller, and with it everything else, has its turn.
	maxCycles = 8
	edge      = 1 << 31 // EPOLLET, which package syscall has as a negative number
)

// loop watches sockets and runs their readers, one after the other, on one goroutine, which lives
// while there are sockets or readers.
//
// It has an epoll instance of its own, which the runtime's poller watches. The runtime does not
// show the events of a socket; a loop that sees them needs no second read that finds nothing, and
// calls a reader instead of switching goroutines twice.
type loop struct {
	fd     int
	wakeFD int // an eventfd that only ever counts up: each write is an edge
	raw    syscall.RawConn

	// Used by the goroutine alone.
	events    [maxEvents]syscall.EpollEvent
	turns     []*socket
	flushers  []Flusher // what AfterTurns was given
	pollAgain bool

	mu      sync.Mutex // guards everything below; nothing of a Conn is called under it
	sockets []*socket  // by descriptor
	count   int        // sockets and readers together
	running bool
	awake   bool      // it will look at kicked before it sleeps
	kicked  []*socket // their readers are to have a turn that no event brings
}

// loops are as many as GOMAXPROCS. Sockets are dealt out to them in turn, and stay where they are.
var loops = sync.OnceValues(func() ([]*loop, error) {
	all := make([]*loop, runtime.GOMAXPROCS(0))
	for i := range all {
		l, err := newLoop()
		if err != nil {
			return nil, err
		}
		all[i] = l
	}
	return all, nil
})

var dealt atomic.Uint32

func nextLoop() (*loop, error) {
	all, err := loops()
	if err != nil {
		return nil, err
	}
	return all[int(dealt.Add(1))%len(all)], nil
}

func newLoop() (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("wire: epoll_create1: %w", err)
	}
	l := &loop{fd: fd, pollAgain: true}
	if l.wakeFD, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		return nil, fmt.Errorf("wire: eventfd: %w", err)
	}
	ev := syscall.EpollEvent{Events: syscall.EPOLLIN | edge, Fd: int32(l.wakeFD)}
	if err := syscall.EpollCtl(fd, syscall.EPOLL_CTL_ADD, l.wakeFD, &ev); err != nil {
		return nil, fmt.Errorf("wire: epoll_ctl: %w", err)
	}
	l.sockets = make([]*socket, l.wakeFD+1) // no socket has the eventfd's number
	// os.NewFile lets the runtime watch only what does not block.
	if err := syscall.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	l.raw, err = os.NewFile(uintptr(fd), "epoll").SyscallConn()
	return l, err
}

// add begins to watch s.
func (l *loop) add(s *socket) error {
	l.mu.Lock()
	for len(l.sockets) <= s.fd {
		l.sockets = append(l.sockets, nil)
	}
	l.sockets[s.fd] = s
	l.count++
	l.runLocked()
	l.mu.Unlock()
	ev := syscall.EpollEvent{
		Events: syscall.EPOLLIN | syscall.EPOLLOUT | syscall.EPOLLRDHUP | edge,
		Fd:     int32(s.fd),
		Pad:    s.serial,
	}
	if err := syscall.EpollCtl(l.fd, syscall.EPOLL_CTL_ADD, s.fd, &ev); err != nil {
		l.remove(s)
		return fmt.Errorf("wire: epoll_ctl: %w", err)
	}
	return nil
}

func (l *loop) runLocked() {
	if !l.running {
		l.running, l.awake = true, true
		go l.run()
	}
}

// remove ends the watch. It is called before the descriptor is closed, while no other socket can
// have its number.
func (l *loop) remove(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sockets[s.fd] = nil
	if l.count--; l.count == 0 {
		l.wakeLocked()
	}
}

// start gives c turns, the first one soon.
func (l *loop) start(s *socket, c *Conn) {
	l.mu.Lock()
	s.reader = c
	l.count++ // s may be closed already, and the goroutine may have to be started again
	l.runLocked()
	l.mu.Unlock()
	s.notify(woken)
}

// stop gives the reader of s no more turns.
func (l *loop) stop(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.reader = nil
	l.count--
}

// kick gives the reader of s a turn soon.
func (l *loop) kick(s *socket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.reader == nil || s.queued {
		return
	}
	s.queued = true
	l.kicked = append(l.kicked, s)
	l.wakeLocked()
}

func (l *loop) wakeLocked() {
	if l.awake {
		return
	}
	l.awake = true
	l.ring()
}

func (l *loop) ring() {
	one := [8]byte{0: 1}
	unix.Write(l.wakeFD, one[:]) // fails only when it has been written to 2^64 times
}

// run waits in the runtime's poller for the loop's epoll instance to have events, until the last
// socket is gone.
func (l *loop) run() { l.raw.Read(l.serve) }

// serve runs the readers that are due; done ends the goroutine. After its work it polls again,
// unless that was in vain the last time: the runtime polls too before it sleeps.
func (l *loop) serve(uintptr) (done bool) {
	for cycle := 1; ; cycle++ {
		n := l.poll()
		l.collect(n)
		if n == 0 && len(l.turns) == 0 {
			l.pollAgain = false
			return l.sleep()
		}
		l.cycle()
		if cycle == maxCycles {
			return l.yield(n == maxEvents)
		}
		if n < maxEvents && !l.pollAgain && !l.pending() {
			l.pollAgain = true
			return l.sleep()
		}
	}
}

func (l *loop) poll() int {
	n, _, errno := syscall.RawSyscall6(
		syscall.SYS_EPOLL_PWAIT,
		uintptr(l.fd),
		uintptr(unsafe.Pointer(&l.events)),
		maxEvents,
		0,
		0,
		0,
	)
	if errno != 0 { // it cannot be interrupted, for it does not wait
		return 0
	}
	return int(n)
}

// collect notes n events at their sockets, and lists the readers whose turn it is.
func (l *loop) collect(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.awake = true
	l.turns = append(l.turns, l.kicked...)
	clear(l.kicked)
	l.kicked = l.kicked[:0]
	for i := range l.events[:n] {
		e := &l.events[i]
		s := l.sockets[e.Fd]
		if s == nil || s.serial != e.Pad { // the eventfd, or a socket that was closed
			continue
		}
		s.note(flagsOf(e.Events))
		if s.reader != nil && !s.queued {
			s.queued = true
			l.turns = append(l.turns, s)
		}
	}
	for _, s := range l.turns {
		s.queued = false
	}
}

// cycle runs the readers whose turn it is, and then flushes what they wrote. A reader that has more
// to do than one turn waits for the next cycle.
func (l *loop) cycle() {
	for _, s := range l.turns {
		if s.turn() {
			l.kick(s)
		}
	}
	clear(l.turns)
	l.turns = l.turns[:0]
	for i, f := range l.flushers {
		l.flushers[i] = nil
		f.Flush()
	}
	l.flushers = l.flushers[:0]
}

func (l *loop) pending() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.kicked) > 0
}

// yield is sleep before the work is done. If the kernel has more events it may not say so again, so
// the loop wakes itself.
func (l *loop) yield(more bool) (done bool) {
	l.pollAgain = true
	if more {
		l.ring()
	}
	return l.sleep()
}

// sleep notes that the loop is about to sleep; done: it has nothing to watch, and ends.
func (l *loop) sleep() (done bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.awake = false
	if len(l.kicked) > 0 {
		l.wakeLocked()
	}
	l.running = l.count > 0
	return !l.running
}
