package h1

import (
	"errors"
	"syscall"
)

// maxWhole is the size up to which a request that left in one piece is read by a server in one
// piece or not at all, for no server reads less at once.
const maxWhole = 1 << 10

// measureLocked notes how much a client's stream has appended to the output, which had before bytes
// until then.
func (s *Stream) measureLocked(before int) {
	if !s.c.client || s.size > maxWhole {
		return
	}
	s.size += s.c.w.QueuedLocked() - before
	// All of the request is in the output and nothing of it has left: one write will take it.
	s.whole = s.state == streamLocalClosed && s.size <= maxWhole && s.c.w.QueuedLocked() == s.size
}

// unsentLocked says whether nothing of a request has left: all of it is still in the output, or the
// one write that would have taken it failed.
func (c *Conn) unsentLocked(s *Stream) bool {
	failed := c.w.FailedLocked()
	return s.whole && (failed == nil && c.w.QueuedLocked() == s.size || isReset(failed))
}

// unreadLocked says whether the server read nothing of a request whose connection broke with err. A
// kernel answers with a reset, and not with an orderly end, when a connection is closed with unread
// input, or was never accepted, or gets more afterwards. This is what happens when a server stops
// while a request is on its way. A reset that was sent from afar proves nothing: a load balancer or
// a firewall that forgets a connection sends one too, after the server has read and acted.
func (c *Conn) unreadLocked(s *Stream, err error) bool {
	return c.o.Direct && s.whole && (isReset(err) || isReset(c.w.SocketError()))
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
