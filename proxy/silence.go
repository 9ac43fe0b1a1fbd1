package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/detect"
)

// forwardSilent is a connection on which the application has said nothing for Limits.DetectTimeout. Its server may be one
// that speaks first, so an endpoint is dialed for it. But it may as well be a spare connection of an HTTP client, which
// opens them in bursts and uses them later: pinned to one endpoint as opaque, its request would be lost with that endpoint.
// So nothing is decided until one end has spoken. The same goes for an application that has said what may become HTTP or not,
// such as a word: its server may be one that answers a word.
func (p *Proxy) forwardSilent(nc net.Conn, c *serverConn, f detect.First) *serverConn {
	for range p.limits.MaxTries {
		if p.memory.Full(now()) {
			p.shed.Inc()
			return nil
		}
		next, again, err := p.attend(nc, c, f)
		if err != nil {
			p.log.Debug("a silent connection ended", "to", c.dst, "err", err)
		}
		if !again {
			return next
		}
	}
	return nil
}

// attend waits with one endpoint; again: it left without a word, and another may have one; next: it is HTTP after all.
func (p *Proxy) attend(nc net.Conn, c *serverConn, f detect.First) (next *serverConn, again bool, err error) {
	o, err := p.openOpaque(c)
	if err != nil {
		next, err := p.attendAlone(nc, c, f)
		return next, false, err
	}
	defer o.up.Close()
	w, err := p.overture(o.up, detect.Continue(nc, p.attendLimits(), f.Bytes), nc)
	switch {
	case err != nil:
		return nil, false, errors.Join(err, cut(nc, o.up))
	case w.http() && len(w.answer) == 0:
		return c.speaks(nc, w.first), false, abort(o.up)
	case w.http():
		return nil, false, errors.Join(errLateHTTP, cut(nc, o.up))
	case w.left != nil && w.none():
		return nil, true, nil
	}
	if _, err := nc.Write(w.answer); err != nil {
		return nil, false, errors.Join(err, cut(nc, o.up))
	}
	p.newTunnel(nc, o.up).carry(w, p.metrics.Cell(p.opaqueLabels(o, w.first)))
	return nil, false, nil
}

// attendAlone is for when no endpoint can be dialed: an HTTP client is answered when it asks.
func (p *Proxy) attendAlone(nc net.Conn, c *serverConn, f detect.First) (*serverConn, error) {
	defer p.trackCloser(nc)()
	l := p.attendLimits()
	l.Pause = 0
	f, err := detect.Continue(nc, l, f.Bytes).Read()
	switch {
	case err != nil || f.Silent():
		return nil, err
	case f.Protocol.IsHTTP():
		return c.speaks(nc, f), nil
	}
	p.forwardOutbound(nc, c, heard(f))
	return nil, nil
}

// attendLimits are for a caller that may take its time, for its server may have to speak first.
func (p *Proxy) attendLimits() detect.Limits {
	l := p.detectLimits()
	l.Silence, l.Pause = config.IdleTCP, l.Silence
	return l
}

// attendInbound waits with the application, which may speak first. It returns the connection if that is HTTP.
func (p *Proxy) attendInbound(nc net.Conn, c *serverConn, f detect.First) (next *serverConn) {
	up := p.dialApplication(nc, c)
	if up == nil {
		return nil
	}
	defer up.Close()
	l := p.attendLimits()
	if c.caller.meshed() {
		l.Pause = time.Nanosecond // the caller's proxy has waited already
	}
	w, err := p.overture(up, detect.Continue(nc, l, f.Bytes), nc)
	switch {
	case err != nil:
		cut(nc, up)
	case w.http() && len(w.answer) == 0:
		abort(up) // fails only if it has ended
		return c.speaks(nc, w.first)
	case w.http():
		p.log.Debug("a connection is cut", "from", c.caller.address, "id", c.caller.id, "port", c.number, "err", errLateHTTP)
		cut(nc, up)
	case w.left != nil && !errors.Is(w.left, io.EOF):
		abort(nc)
	default:
		if _, err := nc.Write(w.answer); err != nil {
			cut(nc, up)
			return nil
		}
		p.carryInbound(nc, up, c, w)
	}
	return nil
}

// errLateHTTP: the bytes of the request cannot be taken back once they are passed on, and what they were an answer to is
// on its way already.
var errLateHTTP = errors.New("HTTP on a connection on which the server has spoken first")

// words are what has been said on a connection so far.
type words struct {
	first  detect.First
	rest   []byte         // of first, what the server has not been given
	line   *detect.Line   // of first, the line that has not ended; nil: none that matters
	caller *detect.Reader // to be asked for more; nil: first is all that is read before it is known what is spoken
	answer []byte         // the server's, who spoke before the caller was understood
	left   error          // why the server said nothing more; nil: it may yet
}

// heard are the words of a caller who spoke before anybody else.
func heard(f detect.First) words {
	return words{first: f, rest: f.Bytes, line: detect.Follow(f.Bytes)}
}

// declared are words on a port that is opaque because somebody said so: they are nobody's to judge.
func declared(f detect.First) words { return words{first: f, rest: f.Bytes} }

func (w words) http() bool { return w.caller == nil && w.first.Protocol.IsHTTP() }

// none reports whether nobody has said anything.
func (w words) none() bool {
	return w.first.Silent() && len(w.answer) == 0 && (w.caller == nil || !w.caller.Said())
}

// overture waits for the first word that tells what is spoken, from either end. What the caller says before that, and may be
// HTTP or not, is passed on: as long as it may be either, it is no more than a request line's beginning. The server's
// goroutine ends with overture: its read is cut short by a deadline, and so is the caller's when the server was first. A
// server that is not to be given the rest must be reset: some take a connection's end for the end of a request line.
func (p *Proxy) overture(up leg, r *detect.Reader, nc net.Conn) (w words, err error) {
	defer p.trackCloser(&tunnel{p: p, down: nc.(leg), up: up})()
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		n, rerr := up.Read(buf)
		w.answer = buf[:n]
		if n == 0 && !errors.Is(rerr, os.ErrDeadlineExceeded) {
			w.left = rerr
		}
		if n > 0 || w.left != nil {
			r.Interrupt()
		}
	}()
	f, err := passUnsure(up, r)
	if derr := up.SetReadDeadline(past); derr != nil && err == nil {
		err = derr
	}
	<-done
	switch {
	case errors.Is(err, io.EOF): // the caller's half is over, without a word
		err = nil
	case errors.Is(err, detect.ErrInterrupted), err == nil && f.Silent():
		w.caller, err = r, nil
	default:
		w.first, w.rest, w.line = f, r.Untaken(), detect.Follow(f.Bytes)
	}
	return w, errors.Join(err, nc.SetReadDeadline(time.Time{}), up.SetReadDeadline(time.Time{}))
}

// passUnsure passes on what the caller says until it is known what that is.
func passUnsure(up leg, r *detect.Reader) (detect.First, error) {
	for {
		if b := r.Untaken(); len(b) > 0 {
			if _, err := up.Write(b); err != nil {
				return detect.First{}, err
			}
		}
		if f, err := r.Read(); err != nil || !f.Unsure {
			return f, err
		}
	}
}
