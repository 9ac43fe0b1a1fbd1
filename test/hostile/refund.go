package main

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/net/http2"
)

const (
	initialWindow = 65535 // before any SETTINGS (RFC 9113 §6.9.2)
	refundRounds  = 30    // their data is several times the connection's window
	refundPadding = 255
)

// refunds resets streams whose data is on its way through the proxy. Each byte of it, padding
// included, must be given back to the connection's window once: twice, and a peer may send without
// a bound (CVE-2026-78663); never, and the connection starves.
func refunds() *attack {
	return heavy(&attack{name: "RST with data under way (CVE-2026-78663)", want: served,
		once: func(pos *position) result {
			p, err := pos.greet()
			if err != nil {
				return result{err: err}
			}
			defer p.nc.Close()
			for range refundRounds {
				if err := p.resetWithData(); err != nil {
					return result{err: err}
				}
			}
			return result{answer: p.answer()}
		}})
}

// resetWithData sends what a stream's first window has room for, and gives the stream up.
func (p *peer) resetWithData() error {
	const frames, payload = 3, 16384 - 1 - refundPadding
	if err := p.awaitWindow(frames * 16384); err != nil {
		return err
	}
	id := p.open(p.post("/hang"), false)
	for range frames {
		p.WriteDataPadded(id, false, make([]byte, payload), make([]byte, refundPadding))
		p.sent += 16384
	}
	p.WriteRSTStream(id, http2.ErrCodeCancel)
	return p.out.Flush()
}

// awaitWindow waits until the connection's window has room for n bytes, and sees that it is not
// larger than it may be.
func (p *peer) awaitWindow(n int) error {
	for until := time.Now().Add(patient(answerTime + answerSlack)); ; time.Sleep(time.Millisecond) {
		w := initialWindow + p.given() - p.sent
		switch {
		case w > limits.ConnWindow:
			return fmt.Errorf("the connection's window has become %d, more than %d",
				w, limits.ConnWindow)
		case w >= n:
			return nil
		case p.answer() != served:
			return errors.New(p.answer())
		case time.Now().After(until):
			return fmt.Errorf("the connection's window is %d after %d bytes: what was sent on "+
				"streams that ended is lost", w, p.sent)
		}
	}
}

// given is what the proxy has given to the connection's window.
func (p *peer) given() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.granted
}
