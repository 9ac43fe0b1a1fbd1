package h1

import (
	"net"
	"sync"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// relay is the smallest proxy: it joins the two codecs as an exchange would, over real sockets.
type relay struct {
	t       testing.TB
	l       net.Listener
	backend string
	opt     Options
	wg      sync.WaitGroup

	mu    sync.Mutex
	idle  []*Conn
	conns map[*Conn]bool
	dials int
}

func newRelay(t testing.TB, backend string, opt Options) *relay {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{t: t, l: l, backend: backend, opt: opt, conns: map[*Conn]bool{}}
	r.wg.Go(r.accept)
	t.Cleanup(r.stop)
	return r
}

func (r *relay) url() string { return "http://" + r.l.Addr().String() }

func (r *relay) stop() {
	r.l.Close()
	r.mu.Lock()
	for c := range r.conns {
		go c.Close(codeCancel)
	}
	r.mu.Unlock()
	r.wg.Wait()
}

func (r *relay) accept() {
	for {
		nc, err := r.l.Accept()
		if err != nil {
			return
		}
		o := r.opt
		o.OnStream = func(s *Stream) Sink { return &joint{r: r, down: s} }
		r.serve(NewServer(wire.New(nc, nil), o))
	}
}

func (r *relay) serve(c *Conn) {
	r.mu.Lock()
	r.conns[c] = true
	r.mu.Unlock()
	r.wg.Go(func() {
		c.Serve()
		r.mu.Lock()
		delete(r.conns, c)
		r.mu.Unlock()
	})
}

func (r *relay) dial() (*Conn, error) {
	nc, err := net.Dial("tcp", r.backend)
	if err != nil {
		return nil, err
	}
	var c *Conn
	o := r.opt
	o.OnCapacity = func() {
		r.mu.Lock()
		r.idle = append(r.idle, c)
		r.mu.Unlock()
	}
	c = NewClient(wire.New(nc, nil), o)
	r.mu.Lock()
	r.dials++
	r.mu.Unlock()
	r.serve(c)
	return c, nil
}

func (r *relay) open(fields []hpack.HeaderField, end bool, sink Sink) (*Stream, error) {
	for {
		r.mu.Lock()
		var c *Conn
		if n := len(r.idle); n > 0 {
			c, r.idle = r.idle[n-1], r.idle[:n-1]
		}
		r.mu.Unlock()
		if c != nil {
			if s, err := c.OpenStream(fields, end, sink); err == nil {
				return s, nil
			}
			continue
		}
		c, err := r.dial()
		if err != nil {
			return nil, err
		}
		return c.OpenStream(fields, end, sink)
	}
}

// joint is the sink of a request; its answer side is the sink of the response.
type joint struct {
	r    *relay
	down *Stream

	mu      sync.Mutex
	up      *Stream
	started bool
}

type answer struct{ *joint }

func (j *joint) upstream() *Stream {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.up
}

func (j *joint) OnHeaders(fields []hpack.HeaderField, end bool) {
	if up := j.upstream(); up != nil { // trailers
		up.WriteHeaders(fields, end)
		up.Flush()
		return
	}
	j.mu.Lock() // the response may come before we know the stream
	up, err := j.r.open(fields, end, answer{j})
	j.up = up
	j.mu.Unlock()
	if err != nil {
		j.down.WriteHeaders([]hpack.HeaderField{{Name: ":status", Value: "502"}}, true)
		j.down.Flush()
		return
	}
	up.Flush()
}

func (j *joint) OnData(p []byte, end bool) {
	up := j.upstream()
	if up == nil {
		return
	}
	j.down.Consumed(up.WriteData(p, end))
	up.Flush()
}

func (j *joint) OnReset(code uint32, err error) {
	if up := j.upstream(); up != nil {
		up.Reset(code)
	}
}

func (j *joint) OnSent(n int) {
	if up := j.upstream(); up != nil {
		up.Consumed(n)
	}
}

func (a answer) OnHeaders(fields []hpack.HeaderField, end bool) {
	a.mu.Lock()
	a.started = a.started || len(fields) > 0 && fields[0].Value >= "200"
	a.mu.Unlock()
	a.down.WriteHeaders(fields, end)
	a.down.Flush()
}

func (a answer) OnData(p []byte, end bool) {
	n := a.down.WriteData(p, end)
	if up := a.upstream(); up != nil {
		up.Consumed(n)
	}
	a.down.Flush()
}

func (a answer) OnReset(code uint32, err error) {
	a.mu.Lock()
	started := a.started
	a.mu.Unlock()
	if !started {
		a.down.WriteHeaders([]hpack.HeaderField{{Name: ":status", Value: "502"}}, true)
		a.down.Flush()
		return
	}
	a.down.Reset(code)
}

func (a answer) OnSent(n int) { a.down.Consumed(n) }
