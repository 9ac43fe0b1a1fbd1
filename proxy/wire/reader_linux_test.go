package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// everywhere runs a test with a reader that shares a loop and with one that has a goroutine.
func everywhere(t *testing.T, run func(t *testing.T, peer net.Conn, c *Conn)) {
	t.Run("loop", func(t *testing.T) {
		a, b := tcpPair(t)
		c := New(b, nil)
		t.Cleanup(func() { c.Close() })
		run(t, a, c)
	})
	t.Run("goroutine", func(t *testing.T) {
		a, b := net.Pipe()
		c := New(b, nil)
		t.Cleanup(func() { a.Close(); c.Close() })
		run(t, a, c)
	})
}

// start takes down why each turn came and hands it to turn; what it returns has the reason for the
// end.
func start(c *Conn, whys *[]error, turn Turn) (over chan error) {
	over = make(chan error, 1)
	c.Start(func(why error) (Wait, error) {
		*whys = append(*whys, why)
		return turn(why)
	}, func(err error) { over <- err })
	return over
}

// echo is a reader that says what it hears until it hears no more.
func echo(c *Conn) Turn {
	return func(why error) (Wait, error) {
		put(c, c.Buffered())
		c.Discard(len(c.Buffered()))
		c.Flush()
		if why == nil || why == ErrWoken {
			return ForInput, nil
		}
		return Done, why
	}
}

func TestAReaderHasATurnForWhatComes(t *testing.T) {
	everywhere(t, func(t *testing.T, peer net.Conn, c *Conn) {
		var whys []error
		over := start(c, &whys, echo(c))
		for _, said := range []string{"one", "two"} {
			peer.Write([]byte(said))
			got := make([]byte, len(said))
			if _, err := io.ReadFull(peer, got); err != nil || string(got) != said {
				t.Fatalf("%q came back, %v", got, err)
			}
		}
		peer.Close()
		if err := <-over; err != io.EOF {
			t.Errorf("the reader ended with %v", err)
		}
		if want := []error{ErrWoken, nil, nil, io.EOF}; !slices.Equal(whys, want) {
			t.Errorf("its turns were for %v, want %v", whys, want)
		}
	})
}

// A reader that waits for a Wake is not told of input, and has it in the turn that the Wake gives
// it.
func TestAReaderThatWaitsForAWakeHearsNothingElse(t *testing.T) {
	everywhere(t, func(t *testing.T, peer net.Conn, c *Conn) {
		var whys []error
		parked := make(chan bool, 1)
		over := start(c, &whys, func(why error) (Wait, error) {
			if len(whys) == 1 {
				parked <- true
				return ForWake, nil
			}
			if why == ErrWoken {
				return ForInput, nil
			}
			return Done, why
		})
		<-parked
		sent := make(chan bool)
		go func() {
			peer.Write([]byte("unheard"))
			close(sent)
		}()
		if c.sock != nil { // a pipe's writer waits for the reader
			<-sent
		}
		c.Wake()
		if err := <-over; err != nil {
			t.Error(err)
		}
		if got := string(c.Buffered()); got != "unheard" {
			t.Errorf("%q was read", got)
		}
		if want := []error{ErrWoken, ErrWoken, nil}; !slices.Equal(whys, want) {
			t.Errorf("its turns were for %v, want %v", whys, want)
		}
	})
}

func TestAReadersDeadline(t *testing.T) {
	everywhere(t, func(t *testing.T, peer net.Conn, c *Conn) {
		var whys []error
		over := start(c, &whys, func(why error) (Wait, error) {
			switch len(whys) {
			case 1:
				c.SetReadDeadline(time.Now().Add(time.Millisecond))
			case 2:
				c.SetReadDeadline(time.Time{})
				go peer.Write([]byte("late"))
			default:
				return Done, nil
			}
			return ForInput, nil
		})
		<-over
		if want := []error{ErrWoken, os.ErrDeadlineExceeded, nil}; len(whys) != 3 ||
			!errors.Is(whys[1], want[1]) ||
			whys[2] != nil {
			t.Errorf("its turns were for %v, want %v", whys, want)
		}
	})
}

// A Wake moves the deadline of a reader that has a goroutine, and puts it back.
func TestAWakeLeavesTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer a.Close()
		c := New(b, nil)
		defer c.Close()
		begun := time.Now()
		var whys []error
		over := start(c, &whys, func(why error) (Wait, error) {
			if why == ErrWoken {
				return ForInput, nil
			}
			return Done, why
		})
		c.SetReadDeadline(begun.Add(time.Minute))
		for range 3 {
			time.Sleep(time.Second)
			c.Wake()
		}
		if err := <-over; !errors.Is(err, os.ErrDeadlineExceeded) ||
			time.Since(begun) != time.Minute {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		if len(whys) != 5 {
			t.Errorf("turns for %v", whys)
		}
	})
}

// The end may come with the last bytes, before them from the reader's view, or after: it is told
// once they are, as what it was.
func TestTheEndIsToldAfterTheLastBytes(t *testing.T) {
	ends := []struct {
		end  func(*net.TCPConn)
		want error
	}{
		{func(c *net.TCPConn) { c.CloseWrite() }, io.EOF},
		{func(c *net.TCPConn) { c.SetLinger(0); c.Close() }, syscall.ECONNRESET},
	}
	for i := range 200 {
		tt := ends[i%2]
		a, b := tcpPair(t)
		c := New(b, nil)
		var heard string
		var whys []error
		read := make(chan bool)
		turn := func(why error) (Wait, error) {
			heard += string(c.Buffered())
			c.Discard(len(c.Buffered()))
			if heard == "bye" && why == nil && tt.want != io.EOF {
				close(read) // a reset takes what was not read with it
			}
			if why != nil && why != ErrWoken {
				return Done, why
			}
			return ForInput, nil
		}
		var over chan error
		if i%4 < 2 {
			over = start(c, &whys, turn)
		}
		a.Write([]byte("bye"))
		if tt.want == io.EOF {
			tt.end(a.(*net.TCPConn))
		}
		if over == nil {
			over = start(c, &whys, turn)
		}
		if tt.want != io.EOF {
			<-read
			tt.end(a.(*net.TCPConn))
		}
		if err := <-over; !errors.Is(err, tt.want) || heard != "bye" {
			t.Fatalf("%d: %q, then %v, want %v", i, heard, err, tt.want)
		}
		c.Close()
	}
}

func TestCloseEndsAReader(t *testing.T) {
	everywhere(t, func(t *testing.T, peer net.Conn, c *Conn) {
		var whys []error
		over := start(c, &whys, func(why error) (Wait, error) {
			if why == ErrWoken {
				return ForInput, nil
			}
			return Done, why
		})
		c.Close()
		if err := <-over; !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
			t.Error(err)
		}
	})
}

// On a loop, where input comes before the Wake: it is no reason for a turn.
func TestInputIsNoWake(t *testing.T) {
	conns, peers := together(t, 2)
	var whys []error
	over := start(conns[0], &whys, func(why error) (Wait, error) {
		if len(whys) == 1 {
			return ForWake, nil
		}
		return Done, nil
	})
	turns := 0
	conns[1].Start(func(error) (Wait, error) {
		switch turns++; turns {
		case 1:
			peers[0].Write([]byte("unheard")) // loopback delivers before a write returns
		case 3:
			conns[0].Wake()
			return Done, nil
		}
		conns[1].Wake()
		return ForWake, nil
	}, func(error) {})
	<-over
	if want := []error{ErrWoken, ErrWoken}; !slices.Equal(whys, want) {
		t.Errorf("turns for %v, want %v", whys, want)
	}
}

// What a peer said in one packet with the end of its handshake is heard, though the kernel says
// nothing more.
func TestAReaderHearsWhatCameWithTheHandshake(t *testing.T) {
	a, b := tcpPair(t)
	sc, cc := tlsConfigs(t)
	held := &holding{Conn: a}
	client, server := NewTLSClient(held, cc), NewTLSServer(b, nil, sc)
	said := make(chan error, 1)
	go func() {
		held.afterHello = true
		err := client.Handshake(t.Context())
		put(client, []byte("hello"))
		client.Flush()
		client.Wait()
		a.Write(held.kept)
		said <- err
	}()
	if err := errors.Join(server.Handshake(t.Context()), <-said); err != nil {
		t.Fatal(err)
	}
	var whys []error
	over := start(server, &whys, func(why error) (Wait, error) {
		if why == ErrWoken {
			return ForInput, nil
		}
		return Done, why
	})
	if err := <-over; err != nil || string(server.Buffered()) != "hello" {
		t.Errorf("%q, %v", server.Buffered(), err)
	}
	server.Close()
}

// A reader that waits for a Wake has no other way to hear that its connection was closed.
func TestCloseWakesAReader(t *testing.T) {
	everywhere(t, func(t *testing.T, peer net.Conn, c *Conn) {
		var whys []error
		parked := make(chan bool, 1)
		over := start(c, &whys, func(error) (Wait, error) {
			if len(whys) == 1 {
				parked <- true
				return ForWake, nil
			}
			c.Lock()
			defer c.Unlock()
			return Done, c.FailedLocked()
		})
		<-parked
		c.Close()
		if err := <-over; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}

// Of what was received at once a reader that leaves much unread is given some, and the rest in a
// turn of which the kernel knows nothing.
func TestAReaderHearsAllOfTLS(t *testing.T) {
	for want := 140 << 10; want < 300<<10; want += 4 << 10 {
		a, b := tcpPair(t)
		sc, cc := tlsConfigs(t)
		client, server := NewTLSClient(a, cc), NewTLSServer(b, nil, sc)
		shake(t, client, server)
		var whys []error
		over := start(server, &whys, func(why error) (Wait, error) {
			if len(server.Buffered()) == want || why != nil && why != ErrWoken {
				return Done, why
			}
			return ForInput, nil
		})
		put(client, noise(want))
		client.Flush()
		if err := <-over; err != nil {
			t.Fatalf("%d of %d bytes, then %v", len(server.Buffered()), want, err)
		}
		client.Close()
		server.Close()
	}
}

// together are connections whose readers share a loop, and their peers.
func together(t *testing.T, n int) (conns []*Conn, peers []net.Conn) {
	for len(conns) < n {
		a, b := tcpPair(t)
		c := New(b, nil)
		t.Cleanup(func() { c.Close() })
		if len(conns) == 0 || c.sock.loop == conns[0].sock.loop {
			conns, peers = append(conns, c), append(peers, a)
		}
	}
	return conns, peers
}

// A reader that always has more is one of many: the others have a turn after each of its.
func TestNoReaderHasTwoTurnsInARow(t *testing.T) {
	conns, peers := together(t, 2)
	busy, other := conns[0], conns[1]
	go func() {
		for p := noise(1 << 20); ; {
			if _, err := peers[0].Write(p); err != nil {
				return
			}
		}
	}()
	turns, asked := 0, 0
	waited := make(chan int)
	over := make(chan error, 2)
	other.Start(func(why error) (Wait, error) {
		if why == ErrWoken {
			return ForInput, nil
		}
		waited <- turns - asked
		return Done, why
	}, func(err error) { over <- err })
	busy.Start(func(why error) (Wait, error) {
		busy.Discard(len(busy.Buffered()))
		if turns++; turns == 100 {
			asked = turns
			peers[1].Write([]byte("me too")) // loopback delivers before a write returns
		}
		if why != nil && why != ErrWoken {
			return Done, why
		}
		return ForInput, nil
	}, func(err error) { over <- err })
	if n := <-waited; n > 1 {
		t.Errorf("it had %d turns while another reader waited", n)
	}
	busy.Close()
	<-over
	<-over
}

// callbacks is a Flusher.
type callback func()

func (f callback) Flush() { f() }

func TestAfterTurnsIsAfterAllThatWereDue(t *testing.T) {
	conns, _ := together(t, 3)
	var said []string
	over := make(chan error, 3)
	flushed := make(chan bool, 2)
	reader := func(c *Conn, name string) {
		first := true
		c.Start(func(error) (Wait, error) {
			if first {
				first = false
				return ForWake, nil
			}
			said = append(said, name)
			if !c.AfterTurns(callback(func() {
				said = append(said, "after "+name)
				flushed <- true
			})) {
				t.Error("no turn of a loop")
			}
			return Done, nil
		}, func(err error) { over <- err })
	}
	reader(conns[0], "a")
	reader(conns[1], "b")
	// its turn comes after both first ones, and what it wakes is due together
	conns[2].Start(func(error) (Wait, error) {
		conns[0].Wake()
		conns[1].Wake()
		return Done, nil
	}, func(err error) { over <- err })
	for range conns {
		<-over
	}
	<-flushed
	<-flushed
	if want := []string{"a", "b", "after a", "after b"}; !slices.Equal(said, want) {
		t.Errorf("%v, want %v", said, want)
	}
	if conns[0].AfterTurns(callback(func() {})) {
		t.Error("a turn that is over goes on")
	}
}

// Connections that come and go on all loops end once each, whoever ends them, and leave no
// goroutine.
func TestReadersComeAndGo(t *testing.T) {
	const workers, each = 8, 100
	before := watched(t)
	var ends atomic.Int64
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := range each {
				a, b := tcpPair(t)
				c := New(b, nil)
				over := make(chan error, 1)
				c.Start(echo(c), func(err error) {
					ends.Add(1)
					over <- err
				})
				a.Write([]byte("hello"))
				if (w+i)%3 != 0 {
					io.ReadFull(a, make([]byte, 5))
				}
				if (w+i)%2 != 0 {
					c.Wake()
					c.Close()
				}
				a.Close()
				<-over
				c.Close()
				c.Wait()
			}
		})
	}
	all.Wait()
	if n := ends.Load(); n != workers*each {
		t.Errorf("%d ends of %d readers", n, workers*each)
	}
	for patience := time.Now().Add(10 * time.Second); watched(t) > before; {
		if time.Now().After(patience) {
			t.Fatalf("%d sockets and readers are left, of which %d were there", watched(t), before)
		}
		time.Sleep(time.Millisecond)
	}
}

// watched is how many sockets and readers there are, but for loops that are about to end.
func watched(t *testing.T) (n int) {
	all, err := loops()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		l.mu.Lock()
		defer l.mu.Unlock()
		if n += l.count; l.count == 0 && l.running {
			n++
		}
	}
	return n
}
