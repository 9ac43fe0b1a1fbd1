package wire

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func noise(n int) []byte {
	r := rand.NewChaCha8([32]byte{1})
	p := make([]byte, n)
	r.Read(p)
	return p
}

// Much more than the kernel takes at once arrives whole and in order, and no Flush waits.
func TestBulkArrivesInOrder(t *testing.T) {
	pairs(t, func(t *testing.T, client, server *Conn) {
		want := noise(8 << 20)
		for p := want; len(p) > 0; p = p[min(len(p), 100_000):] {
			put(client, p[:min(len(p), 100_000)])
			client.Flush()
		}
		if got := readN(t, server, len(want)); !bytes.Equal(got, want) {
			t.Fatal("bytes differ")
		}
		client.Close()
		client.Wait()
	})
}

// A peer that reads nothing costs its writers nothing but memory that Queued tells of; OnDrain
// comes when it reads.
func TestDrain(t *testing.T) {
	pairs(t, func(t *testing.T, client, server *Conn) {
		drained := make(chan int, 8)
		client.MaxOutput = 64 << 10
		client.OnDrain = func() {
			client.Lock()
			defer client.Unlock()
			drained <- client.QueuedLocked()
		}
		n := 0
		for queued := 0; queued < client.MaxOutput; n += 32 << 10 {
			put(client, noise(32<<10))
			client.Flush()
			client.Lock()
			queued = client.QueuedLocked()
			client.Unlock()
		}
		select {
		case <-drained:
			t.Fatal("drained before anybody read")
		default:
		}
		readN(t, server, n)
		if queued := <-drained; queued > client.MaxOutput/2 {
			t.Fatalf("OnDrain with %d queued", queued)
		}
	})
}

func TestManyWriters(t *testing.T) {
	pairs(t, func(t *testing.T, client, server *Conn) {
		const writers, each = 8, 2000
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				line := bytes.Repeat([]byte{byte('a' + w)}, 64)
				for i := range each {
					put(client, line)
					if i%2 == 0 || client.ClaimFlush() {
						client.Flush()
					}
				}
			})
		}
		got := readN(t, server, writers*each*64)
		wg.Wait()
		for i := 0; i < len(got); i += 64 {
			if !bytes.Equal(got[i:i+64], bytes.Repeat(got[i:i+1], 64)) {
				t.Fatal("appends of one critical section were torn apart")
			}
		}
		client.Close()
		client.Wait()
	})
}

// A connection that waits for its peer holds no buffer.
func TestIdleHoldsNoBuffer(t *testing.T) {
	pairs(t, func(t *testing.T, client, server *Conn) {
		put(client, []byte("hello"))
		client.Flush()
		readN(t, server, 5)
		// time enough to try and begin to wait
		server.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if err := server.Fill(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		if server.in.buf != nil || server.cipher.buf != nil {
			t.Error("the reader holds a buffer while it waits")
		}
		client.Lock()
		defer client.Unlock()
		if client.out != nil || client.sealed != nil {
			t.Error("the writer holds a buffer with nothing to write")
		}
	})
}

func TestReadsOnAfterDeadline(t *testing.T) {
	pairs(t, func(t *testing.T, client, server *Conn) {
		server.SetReadDeadline(time.Now().Add(time.Millisecond))
		if err := server.Fill(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		put(client, []byte("late"))
		client.Flush()
		if got := readN(t, server, 4); string(got) != "late" {
			t.Fatalf("%q", got)
		}
	})
}

func TestUnreadInputIsKept(t *testing.T) {
	pairs(t, func(t *testing.T, client, server *Conn) {
		want := noise(100_000)
		put(client, want)
		client.Flush()
		server.SetReadDeadline(time.Now().Add(10 * time.Second))
		for len(server.Buffered()) < len(want) {
			if err := server.Fill(); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(server.Buffered(), want) {
			t.Fatal("bytes differ")
		}
	})
}

func TestUnreadInputIsBounded(t *testing.T) {
	pairs(t, func(t *testing.T, client, server *Conn) {
		put(client, noise(4*maxInput))
		client.Flush()
		server.SetReadDeadline(time.Now().Add(10 * time.Second))
		var err error
		for err == nil {
			err = server.Fill()
		}
		if !errors.Is(err, ErrInputFull) {
			t.Fatal(err)
		}
	})
}

// What was appended before CloseWhenFlushed arrives, then an orderly end; TLS says so with an
// alert.
func TestCloseWhenFlushed(t *testing.T) {
	pairs(t, func(t *testing.T, client, server *Conn) {
		want := noise(4 << 20)
		put(client, want)
		client.CloseWhenFlushed(10 * time.Second)
		if got := readN(t, server, len(want)); !bytes.Equal(got, want) {
			t.Fatal("bytes differ")
		}
		if err := server.Fill(); err != io.EOF {
			t.Fatalf("no orderly end: %v", err)
		}
	})
}

func TestTruncatedTLSIsNoEnd(t *testing.T) {
	a, b := tcpPair(t)
	sc, cc := tlsConfigs(t)
	client, server := NewTLSClient(a, cc), NewTLSServer(b, nil, sc)
	shake(t, client, server)
	client.Close()
	if err := server.Fill(); err != io.ErrUnexpectedEOF {
		t.Fatal(err)
	}
}

// heard is a connection, and all that was read from it.
type heard struct {
	net.Conn
	bytes []byte
}

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.Conn.Read(p)
	h.bytes = append(h.bytes, p[:n]...)
	return n, err
}

func TestRecordsAreAsSmallAsTheyAreToBe(t *testing.T) {
	a, b := tcpPair(t)
	sc, cc := tlsConfigs(t)
	client := NewTLSClient(a, cc)
	client.MaxRecord = 2 << 10
	on := &heard{Conn: b}
	server := tls.Server(on, sc)
	failed := make(chan error, 1)
	go func() { failed <- client.Handshake(t.Context()) }()
	if err := errors.Join(server.HandshakeContext(t.Context()), <-failed); err != nil {
		t.Fatal(err)
	}
	want, got := noise(10_000), make([]byte, 10_000)
	put(client, want)
	client.Flush()
	if _, err := io.ReadFull(server, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("the bytes differ: %v", err)
	}
	const extra = 17 // the content's type and the tag (RFC 8446, section 5.2)
	for p := on.bytes; len(p) > 5; {
		n := int(p[3])<<8 | int(p[4])
		if n > client.MaxRecord+extra {
			t.Errorf("a record of %d bytes", n)
		}
		p = p[5+n:]
	}
}

// gone is a peer that takes nothing more, and whose last words are still in our receive buffer.
type gone struct {
	net.Conn
	words io.Reader
	until time.Time
}

func (g *gone) Read(p []byte) (int, error)        { return g.words.Read(p) }
func (g *gone) Write([]byte) (int, error)         { return 0, io.ErrClosedPipe }
func (g *gone) SetReadDeadline(t time.Time) error { g.until = t; return nil }
func (g *gone) SetWriteDeadline(time.Time) error  { return nil }
func (g *gone) Close() error                      { return nil }

// A failed write drops the output and leaves the reader a moment for what the peer had said.
func TestLastWordsAreRead(t *testing.T) {
	g := &gone{words: bytes.NewReader([]byte("bye"))}
	c := New(g, nil)
	drained := false
	c.OnDrain = func() { drained = true }
	put(c, noise(DefaultMaxOutput))
	c.Flush()
	c.Wait()
	put(c, []byte("dropped"))
	c.Lock()
	if c.QueuedLocked() != 0 || !errors.Is(c.FailedLocked(), io.ErrClosedPipe) {
		t.Errorf("%d bytes queued for nobody; failed with %v", c.QueuedLocked(), c.FailedLocked())
	}
	c.Unlock()
	if !drained {
		t.Error("streams that wait for room were not told")
	}
	c.SetReadDeadline(time.Time{})
	if left := time.Until(g.until); left <= 0 || left > lastRead {
		t.Errorf("the reader may wait for %v", left)
	}
	if err := c.Fill(); err != nil || string(c.Buffered()) != "bye" {
		t.Errorf("read %q, %v", c.Buffered(), err)
	}
	c.Close()
}

func TestCloseUnblocksReader(t *testing.T) {
	pairs(t, func(t *testing.T, client, server *Conn) {
		ended := make(chan error, 1)
		go func() { ended <- server.Fill() }()
		server.Close()
		server.Close()
		if err := <-ended; err == nil {
			t.Fatal("Fill returned bytes of a closed connection")
		}
	})
}

func TestPeekedBytesComeFirst(t *testing.T) {
	a, b := tcpPair(t)
	server := New(b, []byte("GET "))
	if got := string(server.Buffered()); got != "GET " {
		t.Fatalf("%q", got)
	}
	a.Write([]byte("/"))
	if err := server.Fill(); err != nil {
		t.Fatal(err)
	}
	if got := string(server.Buffered()); got != "GET /" {
		t.Fatalf("%q", got)
	}
}

func TestPeekedClientHello(t *testing.T) {
	a, b := tcpPair(t)
	sc, cc := tlsConfigs(t)
	client := NewTLSClient(a, cc)
	failed := make(chan error, 1)
	go func() { failed <- client.Handshake(t.Context()) }()
	peeked := make([]byte, 100)
	if _, err := io.ReadFull(b, peeked); err != nil {
		t.Fatal(err)
	}
	server := NewTLSServer(b, peeked, sc)
	if err := server.Handshake(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	if server.TLS() == nil || server.TLS().Version != 0x304 {
		t.Fatal("no TLS 1.3")
	}
}

// A peer that takes nothing is given up after Stall, on a connection without a file descriptor too.
func TestStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c := New(a, nil)
		put(c, []byte("hello"))
		c.Flush()
		time.Sleep(DefaultStall - time.Second)
		c.Lock()
		if c.FailedLocked() != nil {
			t.Error("gave up too early")
		}
		c.Unlock()
		time.Sleep(2 * time.Second)
		c.Lock()
		if !errors.Is(c.FailedLocked(), errStalled) {
			t.Errorf("failed with %v", c.FailedLocked())
		}
		c.Unlock()
		if err := c.Fill(); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		c.Close()
		b.Close()
		c.Wait()
	})
}

// One that may pause is waited for, however long it takes nothing.
func TestWhoMayPauseIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c := New(a, nil)
		c.WaitForever()
		put(c, []byte("hello"))
		c.Flush()
		time.Sleep(24 * time.Hour)
		got := make([]byte, len("hello"))
		if _, err := io.ReadFull(b, got); err != nil || string(got) != "hello" {
			t.Errorf("%q, %v", got, err)
		}
		c.Close()
		b.Close()
		c.Wait()
	})
}

func BenchmarkFlush(b *testing.B) {
	x, y := tcpPair(b)
	c := New(x, nil)
	go io.Copy(io.Discard, y)
	p := noise(200)
	b.ReportAllocs()
	for b.Loop() {
		put(c, p)
		c.Flush()
	}
}

// Whoever has only begun a message holds little, and loses nothing of it.
func TestTheBeginningOfAMessageIsKeptInLittle(t *testing.T) {
	pairs(t, func(t *testing.T, client, server *Conn) {
		var said []byte
		for _, n := range []int{10, 10, leastOutput, smallOutput / 2, smallOutput, bufferSize} {
			said = append(said, noise(n)...)
			put(client, said[len(said)-n:])
			client.Flush()
			for len(server.Buffered()) < len(said) {
				if err := server.Fill(); err != nil {
					t.Fatal(err)
				}
			}
			server.SetReadDeadline(time.Now().Add(time.Millisecond))
			if err := server.Fill(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("%d bytes: %v", len(said), err)
			}
			server.SetReadDeadline(time.Time{})
			if !bytes.Equal(server.Buffered(), said) {
				t.Fatalf("of %d bytes %d are there, or others", len(said), len(server.Buffered()))
			}
			if size := len(server.in.buf); len(said) <= leastOutput && size > leastOutput ||
				len(said) <= smallOutput && size > smallOutput {
				t.Errorf("%d bytes are kept in %d", len(said), size)
			}
		}
	})
}
