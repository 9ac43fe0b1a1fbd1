package forward

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/config"
	"github.com/tulle-mesh/tulle/proxy/h1"
	"github.com/tulle-mesh/tulle/proxy/h2"
	"github.com/tulle-mesh/tulle/proxy/outcome"
	"github.com/tulle-mesh/tulle/proxy/wire"
	"golang.org/x/net/http2/hpack"
)

// Connections of one pool. HTTP/1 needs one a request. HTTP/2 multiplexes, and one connection keeps
// a core busy: requests are spread over as many as there are cores. Beyond them another takes only
// what those have no room for: as many requests as we put on one wait for answers, or slow callers
// do not take what fills its window. Nobody else should wait for either.
const (
	// A connection with so many streams shares its work with another core; asked once in so many
	// requests.
	busyStreams = 32
	busyEvery   = 32
)

// kind is what a pool's connections speak.
type kind uint8

const (
	meshHTTP2  kind = iota // HTTP/2 over mTLS to a proxy
	plainHTTP2             // prior knowledge
	plainHTTP1
	kinds // how many there are
)

// pool is the connections to one endpoint that speak one protocol, and the tries that wait for one.
type pool struct {
	f    *Forwarder
	e    *balance.Endpoint
	kind kind

	mu      sync.Mutex // guards everything below; taken after an exchange's, before a connection's
	conns   []*clientConn
	idle    []*clientConn            // of HTTP/1, the last used last
	tunnels map[*clientConn]struct{} // of HTTP/1, and in neither list: what they carry is not HTTP
	next    int                      // of HTTP/2: where the search for a free stream begins
	dialing int
	waiting balance.Queue
	retired bool
	probing bool // one of those that dial has failed, and tries again
}

// placement is what became of an attempt.
type placement uint8

const (
	placed placement = iota
	queued
	refused // the queue is full, or has enough of its caller's
	limited // as many wait for the cluster as may
	// Such a request cannot be written in the endpoint's protocol, or is longer than it takes.
	unsendable
	endpointLeft // the endpoint has left
)

// clientConn is a connection to a backend, whose streams are attempts.
type clientConn struct {
	pool    *pool
	wire    *wire.Conn
	engine  client
	batch   batch               // of its reader
	scratch []hpack.HeaderField // of its reader
}

// waiter is who wants a stream to an endpoint: a try of an exchange, or a mirror. Its methods are
// called without the pool's lock, but for head and headOnly.
type waiter interface {
	balance.Waiter
	h2.Sink
	// head is what begins the stream, in b's memory; headOnly says whether that is all of it.
	head(b *batch) []hpack.HeaderField
	headOnly() bool
	// tunnels says whether the stream becomes a tunnel, if the endpoint agrees.
	tunnels() bool
	// mayWait takes a place among those that wait, if there is one.
	mayWait() bool
	// memory is for an HTTP/2 stream.
	memory() *h2.Stream
	// opened says that the stream is open, and its head on its way.
	opened(c *clientConn, up stream, b *batch)
	// openQueued opens the stream of one that was queued, if it still wants it; false: there was no
	// room after all.
	openQueued(b *batch) bool
	// undelivered says that nobody could be reached, and stranded that the endpoint has left.
	undelivered(why outcome.Reason, words string, b *batch)
	stranded(b *batch)
}

// open gives w a stream: on a connection that has a free one, or in the queue. What w belongs to is
// locked.
func (p *pool) open(w waiter, b *batch) placement {
	head := w.head(b)
	p.mu.Lock()
	conn, up, err := p.openLocked(w, head)
	if up != nil {
		p.mu.Unlock()
		w.opened(conn, up, b)
		return placed
	}
	defer p.mu.Unlock()
	switch {
	case err != nil:
		return unsendable
	case p.retired:
		return endpointLeft
	case !w.mayWait():
		return limited
	case !p.waiting.Add(w, p.e.Limits().MaxQueue):
		return refused
	}
	p.dialMoreLocked()
	return queued
}

// openNext is open for w that was queued, and whose turn it is. What it belongs to is locked. If
// there was no room after all, it is put back.
func (p *pool) openNext(w waiter, b *batch) placement {
	head := w.head(b)
	p.mu.Lock()
	conn, up, err := p.openLocked(w, head)
	if up == nil && err == nil && !p.retired {
		p.waiting.PutBack(w)
		p.dialMoreLocked()
		p.mu.Unlock()
		return queued
	}
	p.mu.Unlock()
	switch {
	case up != nil:
		w.opened(conn, up, b)
		return placed
	case err != nil:
		return unsendable
	}
	return endpointLeft
}

// openLocked opens a stream for w, if there is one to be had. An error means that no connection of
// this kind can take it.
func (p *pool) openLocked(w waiter, head []hpack.HeaderField) (*clientConn, stream, error) {
	end := w.headOnly()
	for len(p.idle) > 0 {
		c := p.idle[len(p.idle)-1]
		up, err := c.engine.open(head, end, w)
		if err != nil && !busy(err) {
			return nil, nil, err
		}
		p.idle = p.idle[:len(p.idle)-1]
		if err == nil && w.tunnels() {
			p.setAsideLocked(c)
		}
		if err == nil {
			return c, up, nil
		}
	}
	if p.kind == plainHTTP1 {
		return nil, nil, nil
	}
	p.next++
	spread := min(len(p.conns), p.f.Cores)
	for i, c := range p.conns {
		if i < spread {
			c = p.conns[(p.next+i)%spread]
		}
		up, err := c.engine.open(head, end, w)
		if err == nil {
			p.widenLocked(c)
			return c, up, nil
		}
		if err == h2.ErrTooLong {
			return nil, nil, err
		}
	}
	return nil, nil, nil
}

// setAsideLocked takes a connection that may become a tunnel out of those that are counted.
func (p *pool) setAsideLocked(c *clientConn) {
	p.forgetLocked(c)
	if p.tunnels == nil {
		p.tunnels = map[*clientConn]struct{}{}
	}
	p.tunnels[c] = struct{}{}
}

// widenLocked dials for another core if c has plenty to do.
func (p *pool) widenLocked(c *clientConn) {
	if p.next%busyEvery == 0 && p.dialing == 0 &&
		len(p.conns) < min(p.f.Cores, p.e.Limits().MaxHTTP2Conns) &&
		c.engine.Active() >= busyStreams {
		p.dialOneLocked()
	}
}

// roomlessLocked is how many connections have no room for anyone: slow callers have filled them, or
// as many streams as one takes wait for answers. What a backend limits is a connection, and not
// what all callers together may ask of it: without a proxy each has its own.
func (p *pool) roomlessLocked() int {
	clogged, full := 0, 0
	for _, c := range p.conns {
		switch {
		case c.engine.Clogged():
			clogged++
		case c.engine.Full():
			full++
		}
	}
	return min(clogged, p.f.Limits.MaxCloggedConns) + min(full, p.f.Limits.MaxFullConns)
}

// dialOneLocked starts a dial, unless the cluster has as many connections as it may.
func (p *pool) dialOneLocked() bool {
	if !p.e.Connect(len(p.conns)+p.dialing == 0) {
		return false
	}
	p.dialing++
	p.f.Tasks.Add(1)
	go p.connect()
	return true
}

// disconnected ends what dialOneLocked began.
func (p *pool) disconnected() {
	p.e.Disconnect()
	p.f.Tasks.Done()
}

// busy reports whether an error is about the connection, and not about the request.
func busy(err error) bool { return errors.Is(err, h1.ErrClosed) || errors.Is(err, h1.ErrBusy) }

// cancel takes w out of the queue, if it is there.
func (p *pool) cancel(w waiter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting.Remove(w)
}

// dialMoreLocked starts the dials that the queue asks for.
func (p *pool) dialMoreLocked() {
	want := 1 + p.waiting.Size()/p.f.Limits.MaxConcurrentStreams
	limit := p.e.Limits().MaxHTTP2Conns + p.roomlessLocked()
	if p.kind == plainHTTP1 {
		want, limit = p.waiting.Size(), p.e.Limits().MaxHTTP1Conns
	}
	if p.dialing < want && len(p.conns)+p.dialing >= limit {
		p.f.crowded.Inc()
	}
	for p.dialing < want && len(p.conns)+p.dialing < limit {
		if !p.dialOneLocked() {
			return
		}
	}
}

// connect dials, and starts the connection's reader.
func (p *pool) connect() {
	w, err := p.dial()
	probing := false
	for err != nil {
		if probing = p.dialFailed(err, probing); !probing {
			p.disconnected()
			return
		}
		w, err = p.dial()
	}
	if probing {
		p.mu.Lock()
		p.probing = false
		p.mu.Unlock()
	}
	p.e.Reached()
	w.Stall = p.f.Limits.BodyStall
	p.start(w)
}

// probe waits until an endpoint that could not be dialed may be dialed again, which it does for
// everybody while another endpoint answers them: no request waits to see whether the node is back.
// It returns false if there is nothing to find out.
func (p *pool) probe(rest time.Duration) bool {
	p.e.RestLonger(time.Now(), rest+2*p.e.Limits().DialTimeout)
	select {
	case <-time.After(rest):
	case <-p.f.Ctx.Done():
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retired || len(p.conns) > 0 || p.e.Alone() {
		p.probing = false
		return false
	}
	p.dialing++
	return true
}

func (p *pool) start(w *wire.Conn) {
	c := &clientConn{pool: p, wire: w}
	spare, streams := p.others()
	c.engine = p.newClient(c, spare, streams)
	if !p.add(c) {
		w.Close()
		p.disconnected()
		return
	}
	untrack := p.f.trackClient(c)
	p.serve(&c.batch)
	c.batch.flush()
	c.engine.Start(func(err error) {
		untrack()
		p.ended(c, err)
	})
}

func (p *pool) ended(c *clientConn, err error) {
	defer p.disconnected()
	p.remove(c)
	p.f.broken(roleBackend, err)
	p.f.Log.Debug("a connection to an endpoint ended", "endpoint", p.e.Address, "err", err)
	c.wire.Close()
}

// others reports whether the next connection is only for what others have no room for, and how many
// streams those take; 0: there are none. Such connections are many when slow callers fill them, so
// each holds less.
func (p *pool) others() (spare bool, streams int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.conns) > 0 {
		streams = p.conns[0].engine.PeerStreams()
	}
	return len(p.conns) >= p.e.Limits().MaxHTTP2Conns, streams
}

// add makes a new connection available; false: the endpoint has left meanwhile.
func (p *pool) add(c *clientConn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing--
	if p.retired {
		return false
	}
	p.conns = append(p.conns, c)
	if p.kind == plainHTTP1 {
		p.idle = append(p.idle, c)
	}
	return true
}

// dial connects, and for a meshed endpoint proves both identities.
func (p *pool) dial() (*wire.Conn, error) {
	if p.kind == meshHTTP2 {
		return p.f.DialMesh(p.f.Ctx, p.e, config.ALPNHTTP)
	}
	ctx, cancel := context.WithTimeout(p.f.Ctx, p.e.DialTimeout())
	defer cancel()
	nc, err := p.f.DialPlain(ctx, p.e.Address)
	if err != nil {
		return nil, err
	}
	return wire.New(nc, nil), nil
}

// dialFailed tells the waiting tries, unless another connection may yet take them: of HTTP/1 each
// needs its own. One of those that failed probes the endpoint, and returns true when it is to dial
// again.
func (p *pool) dialFailed(err error, probing bool) (again bool) {
	p.f.Log.Debug("cannot connect to an endpoint", "endpoint", p.e.Address, "err", err)
	p.f.dialFailures.Inc()
	rest := p.e.Rest(time.Now())
	p.f.judge(p.e, balance.Bad, 0)
	p.mu.Lock()
	p.dialing--
	probes := probing || !p.probing && !p.retired && !p.e.Alone()
	p.probing = p.probing || probes
	var failed []balance.Waiter
	if p.dialing == 0 && (len(p.conns) == 0 || p.kind == plainHTTP1) {
		failed = p.waiting.All()
	}
	p.mu.Unlock()
	var b batch
	why, words := outcome.Unreached(err, outcome.ConnectFailed),
		fmt.Sprintf("cannot connect to %s: %v", p.e.Address, err)
	for _, w := range failed {
		w.(waiter).undelivered(why, words, &b)
	}
	b.flush()
	return probes && p.probe(rest)
}

// serve hands free streams to waiting tries, in order. No lock is held: an exchange's comes before
// the pool's.
func (p *pool) serve(b *batch) {
	for {
		p.mu.Lock()
		if p.waiting.Size() == 0 || (p.kind == plainHTTP1 && len(p.idle) == 0) {
			p.mu.Unlock()
			return
		}
		w := p.waiting.Next().(waiter)
		p.mu.Unlock()
		if !w.openQueued(b) {
			return
		}
	}
}

// forgetLocked stops new streams on c; those it has go on.
func (p *pool) forgetLocked(c *clientConn) {
	is := func(o *clientConn) bool { return o == c }
	p.conns = slices.DeleteFunc(p.conns, is)
	p.idle = slices.DeleteFunc(p.idle, is)
	delete(p.tunnels, c)
}

// leave lets c end as soon as its streams have.
func (c *clientConn) leave() {
	c.goingAway()
	c.engine.GoAway()
}

// goingAway: the peer takes no new streams.
func (c *clientConn) goingAway() {
	p := c.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgetLocked(c)
	if p.waiting.Size() > 0 {
		p.dialMoreLocked()
	}
}

// capacity: c takes a stream again; for HTTP/1, it is idle.
func (c *clientConn) capacity() {
	p := c.pool
	p.mu.Lock()
	if _, aside := p.tunnels[c]; aside { // it has become no tunnel
		delete(p.tunnels, c)
		p.conns = append(p.conns, c)
	}
	if p.kind == plainHTTP1 && slices.Contains(p.conns, c) {
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
	p.serve(&c.batch)
}

// remove takes out a connection that has ended; what waited for it needs another.
func (p *pool) remove(c *clientConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forgetLocked(c)
	if p.waiting.Size() > 0 {
		p.dialMoreLocked()
	}
}

// retire lets every connection end: the endpoint is gone. What waits for one is the caller's to
// send elsewhere.
func (p *pool) retire() (stranded []balance.Waiter) {
	p.mu.Lock()
	p.retired = true
	list := slices.AppendSeq(p.conns, maps.Keys(p.tunnels))
	stranded = p.waiting.All()
	p.conns, p.idle, p.tunnels = nil, nil, nil
	p.mu.Unlock()
	for _, c := range list {
		c.engine.GoAway()
	}
	return stranded
}
