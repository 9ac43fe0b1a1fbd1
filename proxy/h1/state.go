package h1

import "time"

// set is a set of states, a bit for each.
type set uint8

// phase is where in the sequence of messages the reader is. doc.go draws which may follow which.
type phase uint8

const (
	phaseHead       phase = iota // a head is read, or awaited
	phaseBody                    // a body is read
	phaseTrailers                // the trailers of a chunked body are read
	phaseTurn                    // server: the request is complete, its response is not
	phaseRaw                     // an upgraded connection's bytes are passed on
	phaseHalfClosed              // an upgraded connection's peer has said all
)

var phaseNames = [...]string{"head", "body", "trailers", "turn", "raw", "halfClosed"}

func (p phase) String() string { return phaseNames[p] }

var serverPhases = [...]set{
	phaseHead:       1<<phaseBody | 1<<phaseTurn,
	phaseBody:       1<<phaseTrailers | 1<<phaseTurn,
	phaseTrailers:   1 << phaseTurn,
	phaseTurn:       1<<phaseHead | 1<<phaseRaw,
	phaseRaw:        1 << phaseHalfClosed,
	phaseHalfClosed: 0,
}

var clientPhases = [...]set{
	phaseHead:       1<<phaseBody | 1<<phaseRaw,
	phaseBody:       1<<phaseTrailers | 1<<phaseHead,
	phaseTrailers:   1 << phaseHead,
	phaseTurn:       0,
	phaseRaw:        1 << phaseHalfClosed,
	phaseHalfClosed: 0,
}

// enter is the only place that changes the reader's phase. Only the reader calls it.
func (c *Conn) enter(next phase) {
	drawn := &serverPhases
	if c.client {
		drawn = &clientPhases
	}
	if drawn[c.phase]>>next&1 == 0 {
		c.w.Lock()
		c.failLocked(codeInternal, ErrUndrawn)
		c.w.Unlock()
		return
	}
	c.phase = next
}

// streamState is how far an exchange has come.
type streamState uint8

const (
	streamOpen            streamState = iota // neither side has said all
	streamLocalClosed                        // we have said all, and the peer has not
	streamRemoteClosed                       // the peer has said all, and we have not
	streamRaw                                // upgraded, and neither side has said all
	streamRawLocalClosed                     // upgraded, and we have said all
	streamRawRemoteClosed                    // upgraded, and the peer has said all
	streamOver                               // the connection has forgotten it
)

var streamNames = [...]string{
	"open", "localClosed", "remoteClosed", "raw", "rawLocalClosed", "rawRemoteClosed", "over",
}

func (s streamState) String() string { return streamNames[s] }

var serverStreams = [...]set{
	streamOpen: 1<<streamLocalClosed | 1<<streamRemoteClosed | 1<<streamRaw |
		1<<streamOver,
	streamLocalClosed:     1 << streamOver,
	streamRemoteClosed:    1<<streamRaw | 1<<streamOver,
	streamRaw:             1<<streamRawLocalClosed | 1<<streamRawRemoteClosed | 1<<streamOver,
	streamRawLocalClosed:  1 << streamOver,
	streamRawRemoteClosed: 1 << streamOver,
	streamOver:            0,
}

var clientStreams = [...]set{
	streamOpen: 1<<streamLocalClosed | 1<<streamRemoteClosed | 1<<streamRaw |
		1<<streamOver,
	streamLocalClosed:     1 << streamOver,
	streamRemoteClosed:    1 << streamOver,
	streamRaw:             1<<streamRawLocalClosed | 1<<streamRawRemoteClosed | 1<<streamOver,
	streamRawLocalClosed:  1 << streamOver,
	streamRawRemoteClosed: 1 << streamOver,
	streamOver:            0,
}

const (
	rawStates         = 1<<streamRaw | 1<<streamRawLocalClosed | 1<<streamRawRemoteClosed
	localClosedStates = 1<<streamLocalClosed | 1<<streamRawLocalClosed | 1<<streamOver
)

func (s streamState) in(states set) bool { return states>>s&1 != 0 }

// enterLocked is the only place that changes a stream's state.
func (s *Stream) enterLocked(next streamState) {
	drawn := &serverStreams
	if s.c.client {
		drawn = &clientStreams
	}
	if !next.in(drawn[s.state]) {
		s.c.failLocked(codeInternal, ErrUndrawn)
		return
	}
	s.state = next
	if next == streamRaw {
		s.c.w.WaitForever() // an upgraded connection may pause, as TCP may
	}
}

// finishLocalLocked notes that we have said all. A server's exchange is over then, unless its
// request may outlive its response.
func (s *Stream) finishLocalLocked() {
	switch {
	case s.state == streamOver:
	case s.state == streamRaw:
		s.enterLocked(streamRawLocalClosed)
		s.c.halfClose = true
	case s.state == streamOpen && (s.c.client || s.c.o.Outlive && !s.unwanted):
		s.enterLocked(streamLocalClosed)
	default:
		s.c.outlived = s.c.client && s.state == streamRemoteClosed
		s.finishLocked()
	}
}

// finishRemoteLocked notes that the peer has said all. A client's exchange is over then, unless its
// request may outlive its response. The connection is not used again after that.
func (s *Stream) finishRemoteLocked() {
	switch {
	case s.state == streamOver:
	case s.state == streamRaw:
		s.enterLocked(streamRawRemoteClosed)
	case s.state == streamOpen && !s.c.client:
		s.enterLocked(streamRemoteClosed)
	case s.state == streamOpen && s.c.o.Outlive:
		s.enterLocked(streamRemoteClosed)
		s.c.drainLocked()
	default:
		s.finishLocked()
	}
}

// finishLocked ends an exchange in order. If it was open the response has ended before the request,
// and the connection cannot be used again.
func (s *Stream) finishLocked() {
	c := s.c
	if s.state == streamOpen {
		c.drainLocked()
	}
	s.forgetLocked()
	c.halfClose = false
	c.idleSince = time.Now()
	c.wakeForLocked(c.wakeNeed)
}

// stopLocked ends an exchange of which the response is all that is wanted. It is false if the
// response has not ended, nor will by itself.
func (s *Stream) stopLocked(code uint32) bool {
	switch client := s.c.client; {
	case client && s.state == streamRemoteClosed:
		s.finishLocked()
	case !client && code == codeNone && s.state == streamLocalClosed:
		s.c.drainLocked()
		s.finishLocked()
	case !client && code == codeNone && s.state == streamOpen && s.pendingEnd:
		s.unwanted = true
	default:
		return false
	}
	return true
}

// forgetLocked takes an exchange that is over, in order or not, off its connection.
func (s *Stream) forgetLocked() {
	s.enterLocked(streamOver)
	s.c.stream = nil
	s.keepLocked(nil)
}

// life is how near a connection is to its end.
type life uint8

const (
	lifeServing  life = iota // it takes exchanges
	lifeDraining             // it takes no more, and ends after the one under way
	lifeFailed               // failure says why the reader must end
	lifeOver                 // the reader has ended
)

var lifeNames = [...]string{"serving", "draining", "failed", "over"}

func (l life) String() string { return lifeNames[l] }

var lifeDrawn = [...]set{
	lifeServing:  1<<lifeDraining | 1<<lifeFailed | 1<<lifeOver,
	lifeDraining: 1<<lifeFailed | 1<<lifeOver,
	lifeFailed:   1 << lifeOver,
	lifeOver:     0,
}

// enterLifeLocked is the only place that changes life.
func (c *Conn) enterLifeLocked(next life) {
	if lifeDrawn[c.life]>>next&1 == 0 {
		c.failLocked(codeInternal, ErrUndrawn)
		return
	}
	c.life = next
}

// drainLocked takes no more exchanges from here on.
func (c *Conn) drainLocked() {
	if c.life == lifeServing {
		c.enterLifeLocked(lifeDraining)
	}
}

// drainingLocked says whether no exchange follows the one that is under way.
func (c *Conn) drainingLocked() bool { return c.life >= lifeDraining }
