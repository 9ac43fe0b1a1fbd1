package wire

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultMaxOutput is the high-water mark of a Conn that was given none.
	DefaultMaxOutput = 64 << 10
	// DefaultStall is how long a peer may take nothing of what waits for it. A minute outlives
	// every retransmission that still has a chance.
	DefaultStall = 60 * time.Second
	// lastRead is how long the reader may go on after a write failed: an answer sent before the
	// peer closed is still on its way to us, or already in our receive buffer.
	lastRead = time.Second
)

// Conn is TCP, TLS over TCP, or any net.Conn. The exported fields are set before first use.
type Conn struct {
	// OnDrain is called when the output fell to half of its high-water mark after it had reached
	// that, by whoever flushed, with no lock of the Conn held.
	OnDrain func()
	// MaxOutput is the high-water mark of the output, bytes. The Conn accepts more; its users ask
	// RoomLocked and stop.
	MaxOutput int
	// MaxRecord is how many bytes a TLS record carries at most; 0: as many as TLS allows. The
	// peer's crypto/tls keeps room for the largest record that has come, as long as it lives.
	MaxRecord int
	// Allowance bounds what this Conn and others hold for slow peers; nil: nothing does.
	Allowance *Allowance
	// Stall is how long a peer may take nothing of what waits for it, unless WaitForever was
	// called. Then the output is dropped and the reader has lastRead left.
	Stall time.Duration

	nc    net.Conn
	sock  *socket // nc, if it is on a loop; else every write needs a goroutine
	tls   *tls.Conn
	state *tls.ConnectionState
	open  atomic.Bool // the TLS handshake is over (or there is none)
	waits atomic.Bool // for ever, not for Stall

	// Used by the reader alone.
	in       input
	cipher   input // TLS: received, not yet decrypted
	parked   int   // bytes of both that the Allowance counts
	unsealed bool  // TLS: there may be more to decrypt
	readN    int   // of the last read
	moreErr  error // met by More, and due from the next Fill
	reader   reader
	after    func(error)
	yields   yieldBudget

	mu        sync.Mutex // guards what follows, up to writers
	out       []byte     // appended, not yet taken by a flusher
	inflight  int        // taken by the flusher, not yet by the kernel
	writing   int        // bytes of the buffer that the writer has
	charged   int        // bytes of the output that the Allowance counts
	held      int        // bytes that wait for the peer in all, as the Allowance counts
	heldSince time.Time
	taken     int  // bytes, since then
	flushing  bool // one goroutine writes
	backlog   bool // that goroutine is a writer: the kernel's buffer is full
	claimed   bool // somebody is about to flush
	aboveMark bool // the high-water mark was reached, OnDrain is due
	finish    bool // end the write half when the output is empty
	finished  bool
	failed    error // output is dropped
	closed    bool
	timer     *time.Timer
	settled   chan struct{} // closed when the output is empty, if AwaitOutput waits for that

	writers sync.WaitGroup

	sealMu sync.Mutex // guards sealed
	// sealed is ciphertext for the kernel: the flusher adds data, the reader alerts and key
	// updates.
	sealed []byte

	lastReadBy atomic.Pointer[time.Time] // the read deadline, which is ours once a write has failed
}

// New is a plaintext connection; peeked is what was already read from it. A TCP connection is the
// Conn's from then on, and closed for everybody else.
func New(nc net.Conn, peeked []byte) *Conn {
	c := newConn(nc)
	c.open.Store(true)
	if len(peeked) > 0 {
		c.in.preload(peeked)
	}
	return c
}

// NewTLSServer is the server end of TLS; call Handshake before anything else.
func NewTLSServer(nc net.Conn, peeked []byte, cfg *tls.Config) *Conn {
	c := newConn(nc)
	if len(peeked) > 0 {
		c.cipher.preload(peeked)
	}
	c.tls = tls.Server(&tlsTransport{c}, cfg)
	return c
}

// NewTLSClient is the client end of TLS; call Handshake before anything else.
func NewTLSClient(nc net.Conn, cfg *tls.Config) *Conn {
	c := newConn(nc)
	c.tls = tls.Client(&tlsTransport{c}, cfg)
	return c
}

func newConn(nc net.Conn) *Conn {
	c := &Conn{nc: nc, MaxOutput: DefaultMaxOutput, Stall: DefaultStall}
	if s, err := adopt(nc); err == nil {
		c.nc, c.sock = s, s
	}
	return c
}

// WaitForever lets the peer take nothing for as long as it likes. What is being written already may
// still end by Stall.
func (c *Conn) WaitForever() { c.waits.Store(true) }

// Handshake runs the TLS handshake on its caller's goroutine. It is nothing on a plaintext
// connection.
func (c *Conn) Handshake(ctx context.Context) error {
	if c.tls == nil {
		return nil
	}
	if err := c.tls.HandshakeContext(ctx); err != nil {
		return err
	}
	state := c.tls.ConnectionState()
	c.state = &state
	c.unsealed = true // what followed the handshake's last message
	c.open.Store(true)
	c.Flush()
	return nil
}

// TLS is what the handshake agreed on, or nil for plaintext.
func (c *Conn) TLS() *tls.ConnectionState { return c.state }

func (c *Conn) LocalAddr() net.Addr  { return c.nc.LocalAddr() }
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// Close ends the connection at once; output that still waits is lost. It may be called more than
// once, from anywhere.
func (c *Conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	c.dropLocked(net.ErrClosed)
	c.Wake() // a reader that waits only for a Wake would never hear of the end
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	return c.nc.Close()
}

// CutAtClose makes Close a reset, whoever calls it, where the transport has one: the peer cannot
// take a reset for an orderly end.
func (c *Conn) CutAtClose() {
	if tc, ok := c.nc.(interface{ SetLinger(int) error }); ok {
		tc.SetLinger(0) // fails only on a closed connection
	}
}

// CloseWrite ends the write half once all output has left.
func (c *Conn) CloseWrite() {
	c.mu.Lock()
	c.finish = true
	c.mu.Unlock()
	c.Flush()
}

// CloseWhenFlushed ends the write half once all output has left, and everything after timeout. The
// reader should go on with Fill and Discard until Fill fails, then Close: closing with unread input
// would make the kernel reset the connection, and the peer could lose the last thing we said.
func (c *Conn) CloseWhenFlushed(timeout time.Duration) {
	c.mu.Lock()
	if !c.closed && c.timer == nil {
		c.timer = time.AfterFunc(timeout, func() { c.Close() })
	}
	c.finish = true
	c.mu.Unlock()
	c.Flush()
}

// AwaitOutput flushes, and waits until all output has left or is dropped: until no flusher, on
// whichever goroutine, has any of it. Stall bounds that, and Close ends it.
func (c *Conn) AwaitOutput() {
	c.Flush()
	c.mu.Lock()
	if !c.flushing || c.failed != nil {
		c.mu.Unlock()
		return
	}
	if c.settled == nil {
		c.settled = make(chan struct{})
	}
	settled := c.settled
	c.mu.Unlock()
	<-settled
}

func (c *Conn) settledLocked() {
	if c.settled != nil {
		close(c.settled)
		c.settled = nil
	}
}

// Wait waits for the writer goroutines, after Close.
func (c *Conn) Wait() { c.writers.Wait() }
