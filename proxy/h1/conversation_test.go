package h1

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/net/http2/hpack"

	"github.com/tulle-mesh/tulle/proxy/wire"
)

// recorder is a sink that writes down what it hears and then lets a script act.
type recorder struct {
	mu     sync.Mutex
	stream *Stream
	log    []string
	body   []byte
	sent   int
	hold   bool                  // do not give windows back
	act    func(*recorder, bool) // after each event of the message; true: it is complete
}

func (r *recorder) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, fmt.Sprintf(format, args...))
}

func (r *recorder) heard() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return strings.Join(r.log, " | ")
}

func (r *recorder) OnHeaders(fields []hpack.HeaderField, end bool) {
	r.note("%s", show(fields, end))
	r.step(end)
}

func (r *recorder) OnData(p []byte, end bool) {
	r.mu.Lock()
	r.body = append(r.body, p...)
	s := r.stream
	r.mu.Unlock()
	if len(p) < 64 {
		r.note("data %q%s", p, ending(end))
	} else {
		r.note("data %d%s", len(p), ending(end))
	}
	if s != nil && !r.hold {
		s.Consumed(len(p))
	}
	r.step(end)
}

func (r *recorder) step(end bool) {
	if r.act != nil {
		r.act(r, end)
	}
}

func (r *recorder) OnReset(code uint32, err error) { r.note("reset %d %v", code, err) }

func (r *recorder) OnSent(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent += n
}

func ending(end bool) string {
	if end {
		return " end"
	}
	return ""
}

func show(fields []hpack.HeaderField, end bool) string {
	var b strings.Builder
	for i, f := range fields {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(f.Name + "=" + f.Value)
	}
	return b.String() + ending(end)
}

// fields makes a list from "name=value" words.
func fields(words ...string) []hpack.HeaderField {
	var list []hpack.HeaderField
	for _, w := range words {
		i := 1 + strings.IndexByte(w[1:], '=')
		list = append(list, hpack.HeaderField{Name: w[:i], Value: w[i+1:]})
	}
	return list
}

// peer is the other end of a connection, in bytes.
type peer struct {
	t    *testing.T
	nc   net.Conn
	conn *Conn
	err  error // of Serve
	over bool  // Serve returned
	eof  bool

	mu  sync.Mutex
	in  []byte
	all []*recorder
}

func (p *peer) send(s string) {
	p.t.Helper()
	go io.WriteString(p.nc, s) // a pipe blocks until it is read; a refused peer may never be
	synctest.Wait()
}

// got is what arrived since it was last asked.
func (p *peer) got() string {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	s := string(p.in)
	p.in = nil
	return s
}

func (p *peer) read() {
	b := make([]byte, 4096)
	for {
		n, err := p.nc.Read(b)
		p.mu.Lock()
		p.in = append(p.in, b[:n]...)
		p.eof = err != nil
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (p *peer) want(got, want string) {
	p.t.Helper()
	if got != want {
		p.t.Errorf("\n got %q\nwant %q", got, want)
	}
}

func (p *peer) wantClosed(closed bool) {
	p.t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.eof != closed {
		p.t.Errorf("closed: %v, want %v", p.eof, closed)
	}
}

func (p *peer) rec(i int) *recorder {
	p.t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	if i >= len(p.all) {
		p.t.Fatalf("only %d requests", len(p.all))
	}
	return p.all[i]
}

func (p *peer) requests() int {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.all)
}

// serverTalk runs talk with a server whose requests get the script.
func serverTalk(t *testing.T, o Options, act func(*recorder, bool), talk func(*peer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &peer{t: t}
		o.OnStream = func(s *Stream) Sink {
			r := &recorder{stream: s, act: act}
			p.mu.Lock()
			p.all = append(p.all, r)
			p.mu.Unlock()
			return r
		}
		o.OnBatch = func() { p.conn.Flush() }
		p.run(func(w *wire.Conn) *Conn { return NewServer(w, o) }, talk)
	})
}

// clientTalk runs talk with a client; the peer is the application.
func clientTalk(t *testing.T, o Options, talk func(*peer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &peer{t: t}
		p.run(func(w *wire.Conn) *Conn { return NewClient(w, o) }, talk)
	})
}

func (p *peer) run(make func(*wire.Conn) *Conn, talk func(*peer)) {
	ours, theirs := net.Pipe()
	p.nc = theirs
	p.conn = make(wire.New(ours, nil))
	var wg sync.WaitGroup
	wg.Go(p.read)
	wg.Go(func() {
		p.err = p.conn.Serve()
		if errors.Is(p.err, ErrUndrawn) {
			p.t.Error(p.err)
		}
		p.over = true
	})
	synctest.Wait()
	talk(p)
	theirs.Close()
	p.conn.Close(codeCancel)
	wg.Wait()
}

// open sends a request and flushes it.
func (p *peer) open(end bool, words ...string) *recorder {
	p.t.Helper()
	r := &recorder{}
	s, err := p.conn.OpenStream(fields(words...), end, r)
	if err != nil {
		p.t.Fatalf("OpenStream: %v", err)
	}
	r.mu.Lock()
	r.stream = s
	r.mu.Unlock()
	s.Flush()
	return r
}

// hello answers a complete request.
func hello(r *recorder, end bool) {
	if end {
		r.stream.WriteHeaders(fields(":status=200", "content-length=5"), false)
		r.stream.WriteData([]byte("hello"), true)
	}
}

const helloText = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"
