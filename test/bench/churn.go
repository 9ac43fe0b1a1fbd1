package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// churners is how many connections are being made at a time.
const churners = 16

// churn makes a connection for each request: TCP, a full mutual TLS 1.3 handshake (X25519; P-256
// certificates on both sides; no tickets), the HTTP/2 preface, one request, its answer of 13 bytes,
// and the client's close. The client is this program, which is a large part of the work: what a
// connection costs the proxy is its CPU column.
func churn(ctx context.Context, c *chain, d time.Duration) (figures, error) {
	var wg sync.WaitGroup
	var mu sync.Mutex // guards the two below
	var took []time.Duration
	var failed error
	began := time.Now()
	for range churners {
		wg.Go(func() {
			var mine []time.Duration
			var err error
			for err == nil && time.Since(began) < d {
				at := time.Now()
				err = once(ctx, c)
				mine = append(mine, time.Since(at))
			}
			mu.Lock()
			defer mu.Unlock()
			if took = append(took, mine...); failed == nil {
				failed = err
			}
		})
	}
	wg.Wait()
	if failed != nil {
		return nil, failed
	}
	slices.Sort(took)
	f := figures{done: float64(len(took)), rate: float64(len(took)) / time.Since(began).Seconds()}
	for name, q := range map[string]float64{p50: .5, p99: .99, p999: .999} {
		f[name] = milliseconds(took[int(q*float64(len(took)-1))])
	}
	return f, nil
}

func once(ctx context.Context, c *chain) error {
	nc, err := c.mtls.dial(ctx, c.addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	t, err := newTalk(nc)
	if err != nil {
		return err
	}
	if err := t.ask("/", nil, false); err != nil {
		return err
	}
	n, err := t.await(1, false)
	if err == nil && n != len(hello) {
		err = fmt.Errorf("an answer of %d bytes, not %d", n, len(hello))
	}
	return err
}
