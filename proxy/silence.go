package proxy

import (
	"errors"
	"net"
	"os"
	"time"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/proxy/config"
)

// forwardSilent is a connection on which the application has said nothing for config.DetectTimeout. Its server may be one
// that speaks first, so an endpoint is dialed for it. But it may as well be a spare connection of an HTTP client, which
// opens them in bursts and uses them later: pinned to one endpoint as opaque, its request would be lost with that endpoint.
// So nothing is decided until one end has spoken.
func (p *Proxy) forwardSilent(nc net.Conn, c *serverConn) *serverConn {
	for range p.limits.MaxTries {
		if p.shedding(now()) {
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
	d, answer, left, err := p.overture(nc, o.up)
	switch {
	case err != nil:
		return nil, false, err
	case len(answer) == 0 && (d.protocol == api.Protocol_PROTOCOL_HTTP1 || d.protocol == api.Protocol_PROTOCOL_HTTP2):
		return c.speaks(nc, d), false, nil
	case d.silent && left:
		return nil, true, nil
	}
	if _, err := nc.Write(answer); err != nil {
		return nil, false, err
	}
	p.newTunnel(nc, o.up).carry(d.peeked, p.metrics.Cell(p.opaqueLabels(o, d)))
	return nil, false, nil
}

// attendAlone is for when no endpoint can be dialed: an HTTP client is answered when it asks.
func (p *Proxy) attendAlone(nc net.Conn, c *serverConn) (*serverConn, error) {
	defer p.trackCloser(nc)()
	if err := nc.SetReadDeadline(time.Now().Add(config.IdleTCP)); err != nil {
		return nil, err
	}
	d, err := detectUntil(nc, true)
	switch {
	case err != nil || d.silent:
		return nil, err
	case d.protocol == api.Protocol_PROTOCOL_HTTP1 || d.protocol == api.Protocol_PROTOCOL_HTTP2:
		return c.speaks(nc, d), nil
	}
	p.forwardOutbound(nc, c, d)
	return nil, nil
}

// overture waits for the first word, from either end. answer is the server's; left: it ended without one. The server's
// goroutine ends with overture: its read is cut short by a deadline, and so is the client's when the server was first. The
// client's own deadline is set before that goroutine runs, or it could undo the other: a greeting is often here already.
func (p *Proxy) overture(nc net.Conn, up leg) (d detected, answer []byte, left bool, err error) {
	defer p.trackCloser(&tunnel{p: p, down: nc.(leg), up: up})()
	if err := nc.SetReadDeadline(time.Now().Add(config.IdleTCP)); err != nil {
		return detected{}, nil, false, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 2048)
		n, rerr := up.Read(buf)
		answer = buf[:n]
		left = n == 0 && !errors.Is(rerr, os.ErrDeadlineExceeded)
		if n > 0 || left {
			nc.SetReadDeadline(past) // it fails only on a connection that has ended
		}
	}()
	d, err = detectUntil(nc, true)
	if derr := up.SetReadDeadline(past); derr != nil && err == nil {
		err = derr
	}
	<-done
	return d, answer, left, errors.Join(err, nc.SetReadDeadline(time.Time{}), up.SetReadDeadline(time.Time{}))
}
