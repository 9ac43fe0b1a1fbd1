package tunnel

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/detect"
	"github.com/tulle-mesh/tulle/proxy/discover"
	"github.com/tulle-mesh/tulle/proxy/metric"
	"github.com/tulle-mesh/tulle/proxy/outcome"
)

// OutboundSilent is a connection on which the application has said nothing for
// Limits.DetectTimeout. Its server may be one that speaks first, so an endpoint is dialed for it.
// But it may as well be a spare connection of an HTTP client, which opens them in bursts and uses
// them later: pinned to one endpoint as opaque, its request would be lost with that endpoint. So
// nothing is decided until one end has spoken. The same goes for an application that has said what
// may become HTTP or not, such as a word: its server may be one that answers a word. It returns
// what the caller said if that is HTTP after all.
func (c *Carrier) OutboundSilent(
	nc net.Conn,
	t *discover.Target,
	f detect.First,
) (http detect.First) {
	for try := range c.Limits.MaxTries {
		if c.shed(nc, Unserved(t.Name())) {
			return http
		}
		http, again, err := c.attend(nc, t, f, try)
		if err != nil {
			c.Log.Debug("a silent connection ended", "to", t.Name(), "err", err)
		}
		if !again {
			return http
		}
	}
	return http
}

// attend waits with one endpoint; again: it left without a word, and another may have one.
func (c *Carrier) attend(
	nc net.Conn,
	t *discover.Target,
	f detect.First,
	try int,
) (http detect.First, again bool, err error) {
	o, err := c.openOpaque(t, caller{nc.RemoteAddr(), try, f})
	if err != nil {
		http, err = c.attendAlone(nc, t, f)
		return http, false, err
	}
	defer o.endpoint.Disconnect()
	defer o.up.Close()
	w, err := c.overture(o.up, detect.Continue(nc, c.attendLimits(), f.Bytes), nc)
	switch {
	case err != nil:
		return http, false, errors.Join(err, cut(nc, o.up))
	case w.http() && len(w.answer) == 0:
		return w.first, false, Abort(o.up)
	case w.http():
		labels := func() metric.Labels { return c.opaqueLabels(o, w.first) }
		c.Refuse(nc, labels, outcome.BadRequest, errLateHTTP.Error())
		return http, false, errors.Join(errLateHTTP, Abort(o.up))
	case w.left != nil && w.none():
		return http, true, nil
	}
	if _, err := nc.Write(w.answer); err != nil {
		return http, false, errors.Join(err, cut(nc, o.up))
	}
	c.carryOutbound(nc, o, w, c.look(nc))
	return http, false, nil
}

// attendAlone is for when no endpoint can be dialed: an HTTP client is answered when it asks.
func (c *Carrier) attendAlone(
	nc net.Conn,
	t *discover.Target,
	f detect.First,
) (http detect.First, err error) {
	defer c.track(nc)()
	l := c.attendLimits()
	l.Pause = 0
	f, err = detect.Continue(nc, l, f.Bytes).Read()
	switch {
	case err != nil || f.Silent():
		return http, err
	case f.Protocol.IsHTTP():
		return f, nil
	}
	c.Outbound(nc, t, Heard(f))
	return http, nil
}

// attendLimits are for a caller that may take its time, for its server may have to speak first.
func (c *Carrier) attendLimits() detect.Limits {
	return detect.Limits{
		Silence: config.IdleTCP,
		Pause:   c.Limits.DetectTimeout,
		Header:  c.Limits.HeaderTimeout,
		Bytes:   config.DetectBytes,
	}
}

// InboundSilent waits with the application, which may speak first. It returns what the caller said
// if that is HTTP.
func (c *Carrier) InboundSilent(
	nc net.Conn,
	a *discover.Arrival,
	f detect.First,
) (http detect.First) {
	up := c.dialApplication(nc, a)
	if up == nil {
		return http
	}
	defer up.Close()
	l := c.attendLimits()
	if a.Caller.Meshed() {
		l.Pause = time.Nanosecond // the caller's proxy has waited already
	}
	w, err := c.overture(up, detect.Continue(nc, l, f.Bytes), nc)
	switch {
	case err != nil:
		cut(nc, up)
	case w.http() && len(w.answer) == 0:
		Abort(up) // fails only if it has ended
		return w.first
	case w.http():
		c.Log.Debug("a connection is cut", "from", a.Caller.Address, "id", a.Caller.ID, "port",
			a.Port.Number, "err", errLateHTTP)
		c.Refuse(nc, c.labelsOf(a), outcome.BadRequest, errLateHTTP.Error())
		Abort(up) // fails only if it has ended
	case w.left != nil && !errors.Is(w.left, io.EOF):
		Abort(nc)
	default:
		if _, err := nc.Write(w.answer); err != nil {
			cut(nc, up)
			return http
		}
		c.carryInbound(nc, up, a, w)
	}
	return http
}

// errLateHTTP: the bytes of the request cannot be taken back once they are passed on, and what they
// were an answer to is on its way already.
var errLateHTTP = errors.New("HTTP on a connection on which the server has spoken first")

// overture waits for the first word that tells what is spoken, from either end. What the caller
// says before that, and may be HTTP or not, is passed on: as long as it may be either, it is no
// more than a request line's beginning. The server's goroutine ends with overture: its read is cut
// short by a deadline, and so is the caller's when the server was first. A server that is not to be
// given the rest must be reset: some take a connection's end for the end of a request line.
func (c *Carrier) overture(up leg, r *detect.Reader, nc net.Conn) (w Words, err error) {
	defer c.track(&tunnel{c: c, down: nc.(leg), up: up})()
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
