package h2

import "time"

const (
	// resetBurst and resetPerSecond bound the requests that a peer may make us begin and throw
	// away: by its own RST_STREAM soon after the request (CVE-2023-44487), or by breaking the
	// protocol so that we reset (CVE-2025-8671). Every stream that ends well earns one reset back,
	// so a client that cancels half of its requests never runs out. A trusted client is charged for
	// breaking the protocol only.
	resetBurst     = 500
	resetPerSecond = 50
	// resetsBeforeLeaving is how many requests a client resets soon after it made them before it
	// leaves the connection. That is long before a server's budget is gone, whose GOAWAY would end
	// the requests of everybody who shares the connection with the one that cancels.
	resetsBeforeLeaving = 100

	// rapidReset: a reset later than this after its request costs nothing. It makes no flood, since
	// concurrent streams are limited.
	rapidReset = time.Second

	// The overhead budget bounds frames that carry no message: PING, SETTINGS, PRIORITY,
	// WINDOW_UPDATE, empty DATA, frames for streams that are gone. A request and every DATA frame
	// that we send earn some, for a receiver may answer each with updates and a bandwidth probe.
	overheadBurst     = 2000
	overheadPerSecond = 200
	overheadPerStream = 20
	overheadPerData   = 10
	// overheadAtOnce is the least burst for each stream that a peer may have: when all of them end
	// at once, the peer may say a few things of each before it knows.
	overheadAtOnce = 4
	// settingsCost is charged for each SETTINGS frame, and for each change of the initial window in
	// it, which walks all streams.
	settingsCost = 5

	// replyOverrun and headerOverrun are bytes that may be queued beyond MaxOutput for a peer that
	// does not read: answers to its frames, and header blocks, which flow control does not cover.
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

// spendOverheadLocked charges a frame that carries no message.
func (c *Conn) spendOverheadLocked(n int) error {
	if c.overhead.spend(n, c.now) {
		return nil
	}
	return connError(CodeEnhanceYourCalm, "too many frames that carry no message")
}

// countPeerErrorLocked counts an error of the peer's on a stream, and charges the reset that
// answers it.
func (c *Conn) countPeerErrorLocked(code uint32) error {
	if c.o.OnBreach != nil {
		c.o.OnBreach(code)
	}
	return c.spendResetLocked()
}

// spendResetLocked charges a server for a reset that the peer caused. A client is not charged: each
// reset costs its peer a request of ours, so they make no flood.
func (c *Conn) spendResetLocked() error {
	if !c.server || c.resets.spend(1, c.now) {
		return nil
	}
	return connError(CodeEnhanceYourCalm, "too many streams reset")
}

// spendCancelLocked charges a client's own RST_STREAM soon after its request, unless it is trusted:
// an application with short deadlines sends as many as its backend is slow. What nobody sends but
// by mistake is charged to all.
func (c *Conn) spendCancelLocked(s *Stream) error {
	if c.o.Trusted || c.now.Sub(s.born) >= rapidReset {
		return nil
	}
	return c.spendResetLocked()
}

// countCancelLocked charges a client's reset of a request that it has just made. A client that has
// no more to spend leaves the connection.
func (c *Conn) countCancelLocked(s *Stream) {
	if c.server || c.now.Sub(s.born) >= rapidReset || c.life >= lifeDraining ||
		c.resets.spend(1, c.now) {
		return
	}
	c.drainLocked()
	c.leaving = true
	c.wakeReaderLocked()
}

// boundRepliesLocked ends a connection whose peer does not read the replies that it asks for.
func (c *Conn) boundRepliesLocked() error {
	if c.w.QueuedLocked() <= c.o.MaxOutput+replyOverrun {
		return nil
	}
	return connError(CodeEnhanceYourCalm, "peer does not read the answers it asks for")
}
