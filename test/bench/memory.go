package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	idlePlain   = 10000
	idleTLS     = 2000
	heldConns   = 10
	heldStreams = 100 // on each: what every peer allows
	// before memory is read: collectors give back what they do not need
	settle    = 3 * time.Second
	openers   = 16  // connections being opened at a time
	stillOpen = 100 // of the connections that are asked again at the end
)

// memoryRows weigh one process each, a fresh one.
func memoryRows() []row {
	one := shape{hops: oneHop, front: "http1"}
	plain := shape{hops: oneHop, front: "http1", conns: idlePlain + idlePlain/5}
	mtls := shape{hops: tlsHop, front: "http2", middle: "http2"}
	return []row{
		{name: "ready", title: "From its start until it serves", unit: "ms", shape: one,
			fresh: true, rounds: 5, work: startup},
		{name: "binary", title: "The binary (without shared libraries)", unit: "MB", shape: one,
			fresh: true, work: binarySize},
		{name: "idle", title: "RSS, idle", unit: "MB", shape: one, fresh: true, rounds: 3,
			work: idleMemory},
		{name: "conn-plain", title: fmt.Sprintf(
			"An idle plaintext connection, of %d, after one HTTP/1 request", idlePlain),
			unit: "KiB", shape: plain, fresh: true, work: plainConnections},
		{name: "conn-mtls", title: fmt.Sprintf(
			"An idle mTLS connection, of %d, fresh (HTTP/2 SETTINGS exchanged)", idleTLS),
			unit: "KiB", shape: mtls, fresh: true, work: tlsConnections(false)},
		{name: "conn-mtls-used",
			title: fmt.Sprintf("An idle mTLS connection, of %d, after 16 KiB each way", idleTLS),
			unit:  "KiB", shape: mtls, fresh: true, work: tlsConnections(true)},
		{name: "stream", unit: "KiB",
			title: fmt.Sprintf("An open, idle HTTP/2 stream, of %d", heldConns*heldStreams),
			shape: shape{hops: oneHop, front: "http2"}, fresh: true, holds: true,
			work: openStreams},
	}
}

func startup(_ context.Context, c *chain, _ time.Duration) (figures, error) {
	return figures{value: milliseconds(c.ready)}, nil
}

func binarySize(_ context.Context, c *chain, _ time.Duration) (figures, error) {
	info, err := os.Stat(fmt.Sprintf("/proc/%d/exe", c.procs[0].Process.Pid))
	if err != nil {
		return nil, err
	}
	return figures{value: float64(info.Size()) / 1e6}, nil
}

func idleMemory(ctx context.Context, c *chain, _ time.Duration) (figures, error) {
	mb, err := c.settled(ctx)
	return figures{value: mb}, err
}

// settled is the memory of the chain's first process, some time from now.
func (c *chain) settled(ctx context.Context) (mb float64, err error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(settle):
	}
	return resident(c.procs[0].Process.Pid)
}

// grown is by how many KiB for each of n the process grows while open happens.
func (c *chain) grown(ctx context.Context, n int, open func() error) (figures, error) {
	before, err := c.settled(ctx)
	if err != nil {
		return nil, err
	}
	if err := open(); err != nil {
		return nil, err
	}
	after, err := c.settled(ctx)
	return figures{value: (after - before) * 1e6 / 1024 / float64(n)}, err
}

func plainConnections(ctx context.Context, c *chain, _ time.Duration) (figures, error) {
	conns := make([]net.Conn, idlePlain)
	defer closeAll(conns)
	open := func(i int) (err error) {
		if conns[i], err = dialFrom(ctx, uint32(i), c.addr); err != nil {
			return err
		}
		return askPlain(conns[i])
	}
	if err := open(0); err != nil { // whatever the first one needs is not a connection's cost
		return nil, err
	}
	f, err := c.grown(ctx, idlePlain-1, func() error { return each(1, idlePlain, open) })
	if err != nil {
		return nil, err
	}
	return f, each(0, stillOpen, func(i int) error {
		return askPlain(conns[i*idlePlain/stillOpen])
	})
}

func askPlain(nc net.Conn) error {
	if err := nc.SetDeadline(time.Now().Add(talkTimeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: app.bench\r\n\r\n"); err != nil {
		return err
	}
	var got []byte
	buf := make([]byte, 512)
	for !bytes.HasSuffix(got, []byte(hello)) {
		n, err := nc.Read(buf)
		if got = append(got, buf[:n]...); err != nil {
			return fmt.Errorf("an answer ends with %q: %w", got, err)
		}
	}
	return nil
}

func tlsConnections(used bool) work {
	return func(ctx context.Context, c *chain, _ time.Duration) (figures, error) {
		conns := make([]net.Conn, idleTLS)
		defer closeAll(conns)
		open := func(i int) error {
			nc, err := c.mtls.dial(ctx, c.addr)
			if err != nil {
				return err
			}
			conns[i] = nc
			return greet(nc, used)
		}
		if err := open(0); err != nil {
			return nil, err
		}
		return c.grown(ctx, idleTLS-1, func() error { return each(1, idleTLS, open) })
	}
}

// greet begins HTTP/2 and, if used, carries a block each way.
func greet(nc net.Conn, used bool) error {
	t, err := newTalk(nc)
	if err != nil {
		return err
	}
	if !used {
		return t.settings()
	}
	if err := t.ask("/echo", make([]byte, blockSize), false); err != nil {
		return err
	}
	n, err := t.await(1, false)
	if err == nil && n != blockSize {
		err = fmt.Errorf("an answer of %d bytes, not %d", n, blockSize)
	}
	return err
}

// openStreams has requests whose bodies stay open, and answers that have begun.
func openStreams(ctx context.Context, c *chain, _ time.Duration) (figures, error) {
	conns := make([]net.Conn, heldConns)
	talks := make([]*talk, heldConns)
	defer closeAll(conns)
	err := each(0, heldConns, func(i int) (err error) {
		if conns[i], err = dialFrom(ctx, uint32(i), c.addr); err != nil {
			return err
		}
		if talks[i], err = newTalk(conns[i]); err != nil {
			return err
		}
		return talks[i].hold(1)
	})
	if err != nil {
		return nil, err
	}
	return c.grown(ctx, heldConns*(heldStreams-1), func() error {
		return each(0, heldConns, func(i int) error { return talks[i].hold(heldStreams - 1) })
	})
}

func (t *talk) hold(streams int) error {
	for range streams {
		if err := t.ask("/hold", nil, true); err != nil {
			return err
		}
	}
	_, err := t.await(streams, true)
	return err
}

// each does it for from to to, some at a time, and stops at the first error.
func each(from, to int, do func(int) error) error {
	var wg sync.WaitGroup
	var once sync.Once
	var first error
	var stop atomic.Bool
	var next atomic.Int64
	next.Store(int64(from))
	for range openers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < to && !stop.Load(); i = int(next.Add(1)) - 1 {
				if err := do(i); err != nil {
					once.Do(func() { first = fmt.Errorf("connection %d: %w", i, err) })
					stop.Store(true)
				}
			}
		})
	}
	wg.Wait()
	return first
}

func closeAll(conns []net.Conn) {
	for _, nc := range conns {
		if nc != nil {
			nc.Close()
		}
	}
}
