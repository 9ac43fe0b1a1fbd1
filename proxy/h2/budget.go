package h2

import "time"

const (
	// Resets: what a peer may make us begin and throw away (CVE-2023-44487), by its own RST_STREAM soon after the request,
	// or by breaking the protocol so that we reset (CVE-2025-8671). Every stream that ends well earns one back, so a
	// client that cancels half of its requests never runs dry; one that does nothing else has the burst and the trickle.
	resetBurst     = 500
	resetPerSecond = 50
	// A client leaves a connection on which it has reset this many requests soon after it made them, long before a server's
	// budget is gone: a GOAWAY would end the requests of everybody who shares the connection with one that cancels.
	resetsBeforeLeaving = 100

	// A reset later than this is a client that lost patience: there is no flood in it, since slots are limited.
	rapid = time.Second

	// Idle chatter: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA, frames for streams that are gone. A request and
	// every DATA frame that we send earn some: a receiver may answer each with updates and a bandwidth probe.
	chatterBurst     = 2000
	chatterPerSecond = 200
	chatterPerStream = 20
	chatterPerData   = 10
	settingsCost     = 5 // of each frame, and of each change of the initial window: that walks all streams

	// What may be queued beyond MaxOutput for a peer that does not read: answers to its frames, and header blocks, which
	// flow control does not cover.
	replyOverrun  = 64 << 10
	headerOverrun = 1 << 20
)

// budget is a token bucket that looks at the clock only when it is empty.
type budget struct {
	tokens, burst, perSecond int
	since                    time.Time
}

func newBudget(burst, perSecond int, now time.Time) budget {
	return budget{tokens: burst, burst: burst, perSecond: perSecond, since: now}
}

func (b *budget) spend(n int, now time.Time) bool {
	if b.tokens < n {
		gain := int(now.Sub(b.since).Seconds() * float64(b.perSecond))
		b.earn(gain)
		if gain > 0 {
			b.since = now
		}
	}
	if b.tokens < n {
		return false
	}
	b.tokens -= n
	return true
}

func (b *budget) earn(n int) { b.tokens = min(b.tokens+n, b.burst) }

// chatter charges a frame that carries no message; the lock is held.
func (c *Conn) chatter(n int) error {
	if c.chatting.spend(n, c.now) {
		return nil
	}
	return connError(CodeEnhanceYourCalm, "too many frames that carry no message")
}

// offended counts what a peer did wrong on a stream, and charges the reset that it is answered with; the lock is held.
func (c *Conn) offended(code uint32) error {
	if c.o.OnBreach != nil {
		c.o.OnBreach(code)
	}
	return c.rash()
}

// rash charges a reset that the peer caused; the lock is held. A server's resets cost a client a request each: no flood.
func (c *Conn) rash() error {
	if !c.server || c.resets.spend(1, c.now) {
		return nil
	}
	return connError(CodeEnhanceYourCalm, "too many streams reset")
}

// cancelled charges a reset of ours for a request just made; the lock is held.
func (c *Conn) cancelled(s *Stream) {
	if c.server || c.now.Sub(s.born) >= rapid || c.drain.begun || c.resets.spend(1, c.now) {
		return
	}
	c.drain.begun, c.leaving = true, true
	c.kick()
}

// reply checks that the peer reads what it asks for; the lock is held.
func (c *Conn) reply() error {
	if c.w.QueuedLocked() <= c.o.MaxOutput+replyOverrun {
		return nil
	}
	return connError(CodeEnhanceYourCalm, "peer does not read the answers it asks for")
}
