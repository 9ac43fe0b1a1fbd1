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
// So nothing is decided until one end has spoken.
func (p *Proxy) forwardSilent(nc net.Conn, c *serverConn) *serverConn {
	for range p.limits.MaxTries {
		if p.memory.Full(now()) {
			p.shed.Inc()
			return nil
		}
		next, again, err := p.attend(nc, c)
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
func (p *Proxy) attend(nc net.Conn, c *serverConn) (next *serverConn, again bool, err error) {
	o, err := p.openOpaque(c)
	if err != nil {
		next, err := p.attendAlone(nc, c)
		return next, false, err
	}
	defer o.up.Close()
	w, err := p.overture(nc, o.up)
	switch {
	case err != nil:
		return nil, false, errors.Join(err, cut(nc, o.up))
	case w.http() && len(w.answer) == 0:
		return c.speaks(nc, w.first), false, nil
	case w.http():
		return nil, false, errors.Join(errLateHTTP, cut(nc, o.up))
	case w.left != nil && w.first.Silent():
		return nil, true, nil
	}
	if _, err := nc.Write(w.answer); err != nil {
		return nil, false, errors.Join(err, cut(nc, o.up))
	}
	p.newTunnel(nc, o.up).carry(w, p.metrics.Cell(p.opaqueLabels(o, w.first)))
	return nil, false, nil
}

// attendAlone is for when no endpoint can be dialed: an HTTP client is answered when it asks.
func (p *Proxy) attendAlone(nc net.Conn, c *serverConn) (*serverConn, error) {
	defer p.trackCloser(nc)()
	l := p.detectLimits()
	l.Silence = config.IdleTCP
	f, err := detect.NewReader(nc, l).Read()
	switch {
	case err != nil || f.Silent():
		return nil, err
	case f.Protocol.IsHTTP():
		return c.speaks(nc, f), nil
	}
	p.forwardOutbound(nc, c, f)
	return nil, nil
}

// attendInbound waits with the application, which may speak first. It returns the connection if that is HTTP.
func (p *Proxy) attendInbound(nc net.Conn, c *serverConn) (next *serverConn) {
	up := p.dialApplication(nc, c)
	if up == nil {
		return nil
	}
	defer up.Close()
	w, err := p.overture(nc, up)
	switch {
	case err != nil:
		cut(nc, up)
	case w.http() && len(w.answer) == 0:
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
	caller *detect.Reader // to be asked for first; nil: it has been
	answer []byte         // the server's, who spoke before the caller was understood
	left   error          // why the server said nothing more; nil: it may yet
}

// heard are the words of a caller who spoke before anybody else.
func heard(f detect.First) words { return words{first: f} }

func (w words) http() bool { return w.caller == nil && w.first.Protocol.IsHTTP() }

// overture waits for the first word, from either end. The server's goroutine ends with overture: its read is cut short by a
// deadline, and so is the client's when the server was first. The client's own deadline is set before that goroutine runs,
// or it could undo the other: a greeting is often here already.
func (p *Proxy) overture(nc net.Conn, up leg) (w words, err error) {
	defer p.trackCloser(&tunnel{p: p, down: nc.(leg), up: up})()
	l := p.detectLimits()
	l.Silence = config.IdleTCP
	r := detect.NewReader(nc, l)
	if err := r.Begin(); err != nil {
		return w, err
	}
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
			nc.SetReadDeadline(past) // it fails only on a connection that has ended
		}
	}()
	f, err := r.Resume()
	if derr := up.SetReadDeadline(past); derr != nil && err == nil {
		err = derr
	}
	<-done
	switch w.first = f; {
	case errors.Is(err, io.EOF): // the caller's half is over, without a word
		err = nil
	case errors.Is(err, detect.ErrInterrupted), err == nil && f.Silent():
		w.caller, err = r, nil
	}
	return w, errors.Join(err, nc.SetReadDeadline(time.Time{}), up.SetReadDeadline(time.Time{}))
}
