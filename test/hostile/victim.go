package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// victim is a well-behaved client: HTTP/1 and HTTP/2 in turn, at a fixed rate. Beside it the same
// client calls the application past the proxy, and so tells the machine from the proxy.
type victim struct {
	through, past []*http.Client
	proxy, app    string
}

func newVictim(proxy, app string) *victim {
	v := &victim{proxy: "http://" + proxy + "/", app: "http://" + app + "/"}
	for range 2 {
		v.through, v.past = append(v.through, newClient(len(v.through) > 0)),
			append(v.past, newClient(len(v.past) > 0))
	}
	return v
}

func newClient(http2 bool) *http.Client {
	t := &http.Transport{Protocols: new(http.Protocols), MaxIdleConnsPerHost: 8}
	t.Protocols.SetHTTP1(!http2)
	t.Protocols.SetUnencryptedHTTP2(http2)
	return &http.Client{Transport: t, Timeout: 5 * time.Second}
}

// seen is what a victim saw.
type seen struct {
	n         int
	refused   int // by a 503, of n
	p99, past time.Duration
	failed    error
}

// watch asks until ctx ends, and at least long enough for a percentile.
func (v *victim) watch(ctx context.Context) seen {
	var mu sync.Mutex
	var through, past []time.Duration
	var failed error
	refused := 0
	var all sync.WaitGroup
	tick := time.NewTicker(time.Second / victimRate)
	defer tick.Stop()
	for i := 0; ctx.Err() == nil || i < victimRate/4; i++ {
		<-tick.C
		all.Go(func() {
			d, err := ask(v.through[i%2], v.proxy)
			direct, derr := ask(v.past[i%2], v.app)
			mu.Lock()
			defer mu.Unlock()
			through = append(through, d)
			if derr == nil {
				past = append(past, direct)
			}
			if errors.Is(err, errUnavailable) {
				refused++
			}
			if err != nil && (failed == nil || errors.Is(failed, errUnavailable)) {
				failed = err // any other than a refusal says more
			}
		})
	}
	all.Wait()
	return seen{n: len(through), refused: refused, p99: percentile99(through),
		past: percentile99(past), failed: failed}
}

// errUnavailable is the proxy's refusal.
var errUnavailable = errors.New("503")

func ask(c *http.Client, url string) (time.Duration, error) {
	began := time.Now()
	resp, err := c.Get(url)
	if err != nil {
		return time.Since(began), err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	switch {
	case err == nil && resp.StatusCode == http.StatusServiceUnavailable:
		err = fmt.Errorf("a well-behaved client got %w: %s", errUnavailable,
			resp.Header.Get("tulle-error"))
	case err == nil && resp.StatusCode != http.StatusOK:
		err = fmt.Errorf("a well-behaved client got %s: %s", resp.Status,
			resp.Header.Get("tulle-error"))
	}
	return time.Since(began), err
}

func percentile99(d []time.Duration) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[(len(d)-1)*99/100]
}
