package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Bounds of what attacks a listener, which comes from one address.
const (
	siegeLimit   = time.Minute     // for all attackers to come
	siegeHold    = time.Second     // that they stay
	honestTime   = 2 * time.Second // for a good call, its connection and handshake included
	honestPause  = 20 * time.Millisecond
	besiegers    = 16 // that work at the same time
	silentCount  = 4 * places
	idleCount    = places + places/4
	streamConns  = 200
	streamsEach  = 250
	largeCount   = 48
	largeSize    = 7 << 20
	noiseCount   = 300
	assaultLimit = 5 * time.Second // for a dial, and a write
)

// busyTime is for a good call on a machine that is not ours alone. Servers give a handshake five
// seconds: who is served only after others have lost their places to that must have waited too
// long.
const busyTime = 4 * time.Second

func honestLimit() time.Duration {
	if *timing {
		return honestTime
	}
	return busyTime
}

// assault is a kind of attack on a listener, by so many attackers. Each does something, and what
// that returns is kept open until all have come, and for siegeHold.
type assault struct {
	name  string
	count int
	do    func(context.Context, *listener) io.Closer
}

func assaults() []*assault {
	return []*assault{
		{"silence", silentCount, silence},
		{"idle connections", idleCount, idleConnection},
		{"floods of streams", streamConns, streams},
		{"large messages", largeCount, large},
		{"garbage", noiseCount, nonsense},
	}
}

// dial connects from the attackers' address; TLS is theirs to do.
func (l *listener) dial() (net.Conn, error) {
	nc, err := dialer(attackerIP).Dial("tcp", l.addr)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(siegeLimit + assaultLimit))
	return nc, nil
}

// enter connects, and goes through TLS where there is one.
func (l *listener) enter() (net.Conn, error) {
	nc, err := l.dial()
	if err != nil || l.secure == nil {
		return nc, err
	}
	secured := tls.Client(nc, l.secure)
	if err := secured.Handshake(); err != nil {
		nc.Close()
		return nil, err
	}
	return secured, nil
}

// come lets n attackers come, besiegers at a time, until ctx ends. It returns what they hold, and
// how many came.
func (a *assault) come(ctx context.Context, l *listener, n int) (held []io.Closer, came int) {
	var mu sync.Mutex // guards held
	var all sync.WaitGroup
	turns := make(chan struct{})
	for range besiegers {
		all.Go(func() {
			for range turns {
				if c := a.do(ctx, l); c != nil {
					mu.Lock()
					held = append(held, c)
					mu.Unlock()
				}
			}
		})
	}
	for came < n && ctx.Err() == nil {
		select {
		case turns <- struct{}{}:
			came++
		case <-ctx.Done():
		}
	}
	close(turns)
	all.Wait()
	return held, came
}

// silence says nothing. A refusal is an answer.
func silence(_ context.Context, l *listener) io.Closer {
	nc, err := l.dial()
	if err != nil {
		return nil
	}
	return nc
}

// idleConnection goes as far as it takes to be a caller, and asks nothing.
func idleConnection(_ context.Context, l *listener) io.Closer {
	nc, err := l.enter()
	if err != nil {
		return nil
	}
	if l.speaks == speaksHTTP1 {
		// an error is an answer
		fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s", l.path, l.fields)
		return nc
	}
	newPeer(nc).greetAndAnswer()
	return nc
}

// greetAndAnswer does what keeps a connection of HTTP/2 alive.
func (p *peer) greetAndAnswer() {
	p.client()
	p.out.Flush() // an error is an answer, and read
	p.quiet.Store(true)
}

// streams begins requests and does not end them.
func streams(_ context.Context, l *listener) io.Closer {
	nc, err := l.enter()
	if err != nil {
		return nil
	}
	if l.speaks == speaksHTTP1 {
		for range streamsEach { // pipelined, and no answer is read
			fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n", l.path, l.fields)
		}
		return nc
	}
	p := newPeer(nc)
	p.client()
	for range streamsEach {
		p.open(p.headers(":method", "POST", ":scheme", l.scheme(), ":authority", "x",
			":path", l.path, "content-type", "application/grpc", "te", "trailers"), false)
	}
	p.out.Flush() // an error is an answer, and read
	return nc
}

func (l *listener) scheme() string {
	if l.secure == nil {
		return "http"
	}
	return "https"
}

// large sends messages of more than a server may take, and of as much as it may.
func large(ctx context.Context, l *listener) io.Closer {
	for _, size := range l.sizes {
		if ctx.Err() == nil {
			l.send(ctx, size) // an error is an answer
		}
	}
	return nil
}

// tooLong is a request with a header that has no end.
func (l *listener) tooLong(ctx context.Context, size int) error {
	nc, err := l.enter()
	if err != nil {
		return err
	}
	defer nc.Close()
	fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", l.path)
	_, err = nc.Write(noise(size))
	return err
}

// nonsense is noise, in place of TLS and inside it.
func nonsense(_ context.Context, l *listener) io.Closer {
	for _, connect := range []func() (net.Conn, error){l.dial, l.enter} {
		nc, err := connect()
		if err != nil {
			continue
		}
		nc.Write(noise(64 << 10)) // an error is an answer
		nc.Close()
	}
	return nil
}
