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
	siegeTime    = 3 * time.Second
	silenceTime  = 8 * time.Second // so many sockets take their time
	honestTime   = 2 * time.Second // for a good call, its connection and handshake included
	honestPause  = 20 * time.Millisecond
	besiegers    = 16     // that work at the same time
	silentCount  = 17_000 // more than destination, the largest server, has places
	quietCount   = 2_000  // where a server has a place for no more than that
	idleCount    = 2_000
	streamConns  = 200
	streamsEach  = 250
	largeCount   = 48
	largeSize    = 7 << 20
	noiseCount   = 300
	assaultLimit = 5 * time.Second // for a dial, and a write
)

// assault is a kind of attack on a listener. It ends with its context.
type assault struct {
	name   string
	lasts  time.Duration
	attack func(context.Context, *listener)
}

func assaults() []*assault {
	return []*assault{
		{"silence", silenceTime, silence},
		{"idle connections", siegeTime, idleConnections},
		{"floods of streams", siegeTime, streams},
		{"large messages", siegeTime, large},
		{"garbage", siegeTime, nonsense},
	}
}

// dial connects from the attackers' address; TLS is theirs to do.
func (l *listener) dial() (net.Conn, error) {
	nc, err := dialer(attackerIP).Dial("tcp", l.addr)
	if err != nil {
		return nil, err
	}
	nc.SetDeadline(time.Now().Add(silenceTime + assaultLimit))
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

// crowd does something n times, besiegers at a time, until ctx ends. What do returns is kept open
// until then.
func crowd(ctx context.Context, n int, do func() io.Closer) {
	var mu sync.Mutex
	var held []io.Closer
	var all sync.WaitGroup
	turns := make(chan struct{})
	for range besiegers {
		all.Go(func() {
			for range turns {
				if c := do(); c != nil {
					mu.Lock()
					held = append(held, c)
					mu.Unlock()
				}
			}
		})
	}
	for range n {
		select {
		case turns <- struct{}{}:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(turns)
	all.Wait()
	<-ctx.Done()
	for _, c := range held {
		c.Close()
	}
}

// connected is nc, or nothing: a refusal is an answer.
func connected(nc net.Conn, err error) io.Closer {
	if err != nil {
		return nil
	}
	return nc
}

// silence says nothing, over as many sockets as the server takes.
func silence(ctx context.Context, l *listener) {
	n := silentCount
	if l.secure == nil {
		n = quietCount
	}
	crowd(ctx, n, func() io.Closer { return connected(l.dial()) })
}

// idleConnections go as far as it takes to be a caller, and ask nothing.
func idleConnections(ctx context.Context, l *listener) {
	crowd(ctx, idleCount, func() io.Closer {
		nc, err := l.enter()
		if err != nil {
			return nil
		}
		if l.speaks == speaksHTTP1 {
			fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n", l.path) // an error is an answer
			return nc
		}
		newPeer(nc).greetAndAnswer()
		return nc
	})
}

// greetAndAnswer does what keeps a connection of HTTP/2 alive.
func (p *peer) greetAndAnswer() {
	p.client()
	p.out.Flush() // an error is an answer, and read
	p.quiet.Store(true)
}

// streams begins requests and does not end them.
func streams(ctx context.Context, l *listener) {
	crowd(ctx, streamConns, func() io.Closer {
		nc, err := l.enter()
		if err != nil {
			return nil
		}
		if l.speaks == speaksHTTP1 {
			for range streamsEach { // pipelined, and no answer is read
				fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", l.path)
			}
			return nc
		}
		p := newPeer(nc)
		p.client()
		for range streamsEach {
			p.open(p.headers(":method", "POST", ":scheme", "https", ":authority", "x", ":path", l.path,
				"content-type", "application/grpc", "te", "trailers"), false)
		}
		p.out.Flush() // an error is an answer, and read
		return nc
	})
}

// large sends messages of more than a server may take, and of as much as it may.
func large(ctx context.Context, l *listener) {
	crowd(ctx, largeCount, func() io.Closer {
		for _, size := range l.sizes {
			if ctx.Err() != nil {
				return nil
			}
			l.send(ctx, size) // an error is an answer
		}
		return nil
	})
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
func nonsense(ctx context.Context, l *listener) {
	crowd(ctx, noiseCount, func() io.Closer {
		for _, connect := range []func() (net.Conn, error){l.dial, l.enter} {
			nc, err := connect()
			if err != nil {
				continue
			}
			nc.Write(noise(64 << 10)) // an error is an answer
			nc.Close()
		}
		return nil
	})
}
