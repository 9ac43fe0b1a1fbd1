package health

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
)

// Options are what a Set needs from others.
type Options struct {
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Address is where the application behind a port is reached at another of its ports; 0: at the
	// same.
	Address func(port, asked uint16) string
	// Ask, where it is not nil, is made in place of each check, whatever that is. It ends with its
	// context, and is an error where the application is not well.
	Ask func(context.Context) error
	// Say tells of a change, on a goroutine of the Set's.
	Say func(*api.Health)
	Log *slog.Logger
}

// Set checks the ports of one workload.
type Set struct {
	Options
	ctx   context.Context
	stop  context.CancelFunc
	tasks sync.WaitGroup

	mu       sync.Mutex // guards what follows
	checkers map[uint16]*checker
	stopped  bool
	sequence uint64
}

// NewSet checks nothing yet.
func NewSet(o Options) *Set {
	s := &Set{Options: o, checkers: map[uint16]*checker{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Apply has a port checked in this way from now on; nil: no longer. It does not block.
func (s *Set) Apply(port uint16, check *Check) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.checkers[port]
	if s.stopped || c == nil && check == nil {
		return
	}
	if c == nil {
		if len(s.checkers) >= api.MaxHealthPorts {
			s.Log.Warn("a port is not checked: as many have been as may be", "port", port,
				"most", api.MaxHealthPorts)
			return
		}
		c = newChecker(s, port)
		s.checkers[port] = c
		s.tasks.Go(func() { c.run(s.ctx) })
	}
	select {
	case <-c.change:
	default:
	}
	c.change <- check // there is room, and nobody else sends
}

// next is the number of what is said next. A proxy that follows this one in its pod goes on with
// greater ones, by the clock.
func (s *Set) next() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sequence = max(s.sequence+1, uint64(time.Now().UnixMicro()))
	return s.sequence
}

// Stop ends all checks, and waits for them. What was said last stands.
func (s *Set) Stop() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.stop()
	s.tasks.Wait()
}
