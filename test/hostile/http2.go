package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// peer is one end of an HTTP/2 connection that may write any frame. What the proxy says is read all
// the time, and kept as far as rows ask about it.
type peer struct {
	nc  net.Conn
	out *bufio.Writer
	*http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
	next  uint32
	ended chan struct{}
	deaf  atomic.Bool // reads no more
	quiet atomic.Bool // writes no more but answers to PING, from the reader
	sent  int         // DATA, as far as rows ask about it

	mu     sync.Mutex // guards everything below
	goAway *http2.ErrCode
	resets map[http2.ErrCode]int
	status map[string]int

	granted int // to the connection's window
}

const clientPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// greet connects a client of HTTP/2, whose connection is its caller's to close.
func (p *position) greet() (*peer, error) {
	nc, err := p.dial()
	if err != nil {
		return nil, err
	}
	c := newPeer(nc)
	c.client()
	return c, nil
}

func newPeer(nc net.Conn) *peer {
	p := &peer{nc: nc, out: bufio.NewWriterSize(nc, 16<<10), next: 1, ended: make(chan struct{}),
		resets: map[http2.ErrCode]int{}, status: map[string]int{}}
	p.Framer = http2.NewFramer(p.out, nil)
	p.AllowIllegalWrites = true
	p.enc = hpack.NewEncoder(&p.block)
	return p
}

// client greets as one and reads from then on.
func (p *peer) client(settings ...http2.Setting) {
	// an error stays with the writer, and comes with the next flush
	io.WriteString(p.out, clientPreface)
	p.WriteSettings(settings...)
	go p.read()
}

// read notes what comes until the connection ends.
func (p *peer) read() {
	defer func() {
		if !p.deaf.Load() {
			close(p.ended)
		}
	}()
	fr := http2.NewFramer(io.Discard, bufio.NewReader(p.nc))
	fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for !p.deaf.Load() {
		f, err := fr.ReadFrame()
		if _, stream := err.(http2.StreamError); stream {
			continue
		}
		if err != nil {
			return
		}
		p.note(f)
	}
}

func (p *peer) note(f http2.Frame) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch f := f.(type) {
	case *http2.GoAwayFrame:
		if f.ErrCode != http2.ErrCodeNo {
			code := f.ErrCode
			p.goAway = &code
		}
	case *http2.PingFrame:
		if p.quiet.Load() && !f.IsAck() {
			p.WritePing(true, f.Data)
			p.out.Flush() // an error is an answer, and read
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			p.granted += int(f.Increment)
		}
	case *http2.RSTStreamFrame:
		p.resets[f.ErrCode]++
	case *http2.MetaHeadersFrame:
		p.status[f.PseudoValue("status")]++
	}
}

// headers encodes a field list; names and values alternate.
func (p *peer) headers(fields ...string) []byte {
	p.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(p.block.Bytes())
}

func (p *peer) get(path string) []byte {
	return p.headers(":method", "GET", ":scheme", "http", ":authority", "app", ":path", path)
}

func (p *peer) post(path string, more ...string) []byte {
	return p.headers(append([]string{":method", "POST", ":scheme", "http", ":authority", "app",
		":path", path}, more...)...)
}

// maxFragment is what of a header block a frame takes.
const maxFragment = 16 << 10

// open begins a stream.
func (p *peer) open(block []byte, end bool) uint32 {
	id := p.next
	p.next += 2
	first := min(len(block), maxFragment)
	p.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: block[:first], EndHeaders: first == len(block), EndStream: end,
	})
	for block = block[first:]; len(block) > 0; block = block[first:] {
		first = min(len(block), maxFragment)
		p.WriteContinuation(id, first == len(block), block[:first])
	}
	return id
}

// flood writes n frames at most; it stops when the proxy has ended the connection.
func (p *peer) flood(n int, frame func(i int)) {
	for i := range n {
		frame(i)
		if i%64 == 63 && p.over() {
			return
		}
	}
}

func (p *peer) over() bool {
	select {
	case <-p.ended:
		return true
	default:
		return p.out.Flush() != nil
	}
}

// answer is what the proxy did, as rows name it.
func (p *peer) answer() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.goAway != nil {
		return "GOAWAY " + p.goAway.String()
	}
	for code := range p.resets {
		return "RST " + code.String()
	}
	if p.status["431"] > 0 {
		return "431"
	}
	select {
	case <-p.ended:
		return "closed"
	default:
		return served
	}
}

// served: the proxy saw no offence.
const served = "served"

// verdict waits for the proxy's answer to what was just written.
func (p *peer) verdict(want string) result {
	p.out.Flush() // an error is an answer, and read
	began := time.Now()
	until := began.Add(patient(answerTime + answerSlack))
	for !accepts(want, p.answer()) && time.Now().Before(until) {
		time.Sleep(2 * time.Millisecond)
	}
	return result{answer: p.answer(), took: time.Since(began)}
}
