package h2

// set is a set of states, a bit for each.
type set uint8

// streamState is how far a stream has come (RFC 9113 §5.1). doc.go draws which may follow which.
type streamState uint8

const (
	streamIdle         streamState = iota // not begun: a Stream's zero value
	streamOpen                            // neither side has said END_STREAM
	streamLocalClosed                     // our END_STREAM is in the output
	streamRemoteClosed                    // the peer's END_STREAM was read
	streamDiscarding                      // open, and its owner has left: the answer still leaves
	streamFinishing                       // remoteClosed, and its owner has left
	streamClosed                          // both sides have said END_STREAM
	streamReset                           // RST_STREAM, or the connection's end
)

var streamNames = [...]string{
	"idle", "open", "localClosed", "remoteClosed", "discarding", "finishing", "closed", "reset",
}

func (s streamState) String() string { return streamNames[s] }

// streamDrawn are the states that may follow each one.
var streamDrawn = [...]set{
	streamIdle: 1<<streamOpen | 1<<streamLocalClosed | 1<<streamRemoteClosed,
	streamOpen: 1<<streamLocalClosed | 1<<streamRemoteClosed | 1<<streamDiscarding |
		1<<streamReset,
	streamLocalClosed:  1<<streamClosed | 1<<streamReset,
	streamRemoteClosed: 1<<streamFinishing | 1<<streamClosed | 1<<streamReset,
	streamDiscarding:   1<<streamFinishing | 1<<streamReset,
	streamFinishing:    1<<streamClosed | 1<<streamReset,
	streamClosed:       0,
	streamReset:        0,
}

const (
	goneStates         = 1<<streamClosed | 1<<streamReset
	remoteClosedStates = 1<<streamRemoteClosed | 1<<streamFinishing
	ownerlessStates    = 1<<streamDiscarding | 1<<streamFinishing
)

func (s streamState) in(states set) bool { return states>>s&1 != 0 }

// enterLocked is the only place that changes a stream's state.
func (s *Stream) enterLocked(next streamState) {
	if !next.in(streamDrawn[s.state]) {
		s.c.failLocked(ErrUndrawn)
		return
	}
	s.state = next
}

// startState is how far a connection's two sides know each other's settings.
type startState uint8

const (
	startPreface  startState = iota // a server awaits the client's preface
	startSettings                   // the peer's first SETTINGS are awaited
	startStarted                    // they are here; ours are not acknowledged
	startAgreed                     // ours are acknowledged: the peer counts with them
)

var startNames = [...]string{"preface", "settings", "started", "agreed"}

func (s startState) String() string { return startNames[s] }

var startDrawn = [...]set{
	startPreface:  1 << startSettings,
	startSettings: 1 << startStarted,
	startStarted:  1 << startAgreed,
	startAgreed:   0,
}

// enterStartLocked is the only place that changes start.
func (c *Conn) enterStartLocked(next startState) {
	if startDrawn[c.start]>>next&1 == 0 {
		c.failLocked(ErrUndrawn)
		return
	}
	c.start = next
}

// life is how near a connection is to its end.
type life uint8

const (
	lifeServing   life = iota // it takes streams
	lifeAnnounced             // a server's first GOAWAY and its PING are out; it takes streams
	lifeDraining              // it takes no streams, and ends with the last one
	lifeFailed                // fatal says why the reader must end
	lifeOver                  // the reader has ended
)

var lifeNames = [...]string{"serving", "announced", "draining", "failed", "over"}

func (l life) String() string { return lifeNames[l] }

var lifeDrawn = [...]set{
	lifeServing:   1<<lifeAnnounced | 1<<lifeDraining | 1<<lifeFailed | 1<<lifeOver,
	lifeAnnounced: 1<<lifeDraining | 1<<lifeFailed | 1<<lifeOver,
	lifeDraining:  1<<lifeFailed | 1<<lifeOver,
	lifeFailed:    1 << lifeOver,
	lifeOver:      0,
}

// enterLifeLocked is the only place that changes life, but for failLocked, which it calls.
func (c *Conn) enterLifeLocked(next life) {
	if lifeDrawn[c.life]>>next&1 == 0 {
		c.failLocked(ErrUndrawn)
		return
	}
	c.life = next
}

// drainLocked takes no more streams from here on.
func (c *Conn) drainLocked() {
	if c.life < lifeDraining {
		c.enterLifeLocked(lifeDraining)
	}
}
