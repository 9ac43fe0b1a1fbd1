package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A bulk connection's first byte says which way the bytes go. Small letters begin no HTTP, so
// nobody waits to see more.
const (
	down = 'd' // until the client closes
	// until the client has closed its half; the answer is how many bytes came, 8 bytes big-endian
	up = 'u'
)

const bulkChunk = 64 << 10

func serveBulk(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		nc, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer nc.Close()
			answerBulk(nc)
		}()
	}
}

// answerBulk ends when the client does.
func answerBulk(nc net.Conn) {
	buf := make([]byte, bulkChunk)
	if _, err := io.ReadFull(nc, buf[:1]); err != nil {
		return
	}
	if buf[0] == up {
		n := readAll(nc, buf)
		nc.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
		return
	}
	for {
		if _, err := nc.Write(buf); err != nil {
			return
		}
	}
}

// readAll does not splice: bytes that nobody has seen are cheaper than an application's.
func readAll(r io.Reader, buf []byte) (total int) {
	for {
		n, err := r.Read(buf)
		total += n
		if err != nil {
			return total
		}
	}
}

// bulk moves bytes on two connections each way for a while.
func bulk(ctx context.Context, c *chain, d time.Duration) (figures, error) {
	var wg sync.WaitGroup
	var mu sync.Mutex // guards the two below
	var total int
	var failed error
	began := time.Now()
	for _, way := range []byte{down, down, up, up} {
		wg.Go(func() {
			n, err := move(ctx, c.addr, way, began.Add(d))
			mu.Lock()
			defer mu.Unlock()
			if total += n; failed == nil {
				failed = err
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return nil, failed
	}
	mb := float64(total) / 1e6
	return figures{done: mb, rate: mb / time.Since(began).Seconds()}, nil
}

func move(ctx context.Context, addr string, way byte, until time.Time) (n int, err error) {
	nc, err := dialFrom(ctx, 0, addr)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	if err := nc.SetDeadline(until.Add(generatorGrace)); err != nil {
		return 0, err
	}
	if _, err := nc.Write([]byte{way}); err != nil {
		return 0, err
	}
	buf := make([]byte, bulkChunk)
	if way == up {
		return send(nc.(*net.TCPConn), buf, until)
	}
	for time.Now().Before(until) {
		got, err := nc.Read(buf)
		n += got
		if err != nil {
			return n, fmt.Errorf("after %d bytes: %w", n, err)
		}
	}
	return n, nil
}

// send counts what arrived, not what left.
func send(nc *net.TCPConn, buf []byte, until time.Time) (int, error) {
	for time.Now().Before(until) {
		if _, err := nc.Write(buf); err != nil {
			return 0, err
		}
	}
	if err := nc.CloseWrite(); err != nil {
		return 0, err
	}
	if _, err := io.ReadFull(nc, buf[:8]); err != nil {
		return 0, fmt.Errorf("how much arrived: %w", err)
	}
	return int(binary.BigEndian.Uint64(buf)), nil
}
