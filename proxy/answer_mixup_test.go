package proxy_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Exchanges are used again. Whatever the callers do to them, every answer is to its own request,
// and of its own body.
func TestEveryAnswerIsItsOwn(t *testing.T) {
	const callers, each = 24, 150
	url, _, _ := newMesh(t, time.Hour).pair(http.HandlerFunc(echoOwn))
	clients := []*http.Client{http1Client(t), http2Client(t)}
	var answered, left atomic.Int64
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for n := range each {
				ok, err := askOwn(clients[caller%2], url, fmt.Sprintf("%d-%d", caller, n), n)
				if err != nil {
					t.Error(err)
				}
				if ok {
					answered.Add(1)
				} else {
					left.Add(1)
				}
			}
		})
	}
	all.Wait()
	if answered.Load() < callers*each/2 || left.Load() == 0 {
		t.Errorf("%d were answered, %d callers left", answered.Load(), left.Load())
	}
}

// echoOwn answers with the request's name and body, if they belong together; some take a moment.
func echoOwn(w http.ResponseWriter, r *http.Request) {
	name := r.Header.Get("X-Name")
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return // the caller has left
	}
	if strings.ReplaceAll(string(b), name+";", "") != "" {
		w.WriteHeader(http.StatusConflict)
		return
	}
	if len(b)%3 == 0 {
		time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
	}
	w.Header().Set("X-Name", name)
	w.Header().Set("Trailer", "X-Last")
	w.Write(b)
	w.Header().Set("X-Last", name)
}

// askOwn sends a request, with a body that may be larger than any window; every eighth caller
// leaves early. ok: it was answered.
func askOwn(c *http.Client, url, name string, n int) (ok bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	leaves := n%8 == 7
	if leaves {
		time.AfterFunc(time.Duration(rand.IntN(2000))*time.Microsecond, cancel)
	}
	size := []int{0, 1, 1, 20, 20, 300, 10_000}[n%7]
	body := strings.Repeat(name+";", size)
	req, err := http.NewRequestWithContext(ctx, []string{"GET", "POST"}[min(size, 1)], url,
		strings.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header.Set("X-Name", name)
	resp, err := c.Do(req)
	if err != nil {
		return false, unless(leaves, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return false, unless(leaves, err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("X-Name") != name || string(b) != body ||
		resp.Trailer.Get("X-Last") != name {
		return true, fmt.Errorf("%s: %d, the answer of %q with %d bytes of %d, last %q",
			name, resp.StatusCode, resp.Header.Get("X-Name"), len(b), len(body),
			resp.Trailer.Get("X-Last"))
	}
	return true, nil
}

func unless(expected bool, err error) error {
	if expected {
		return nil
	}
	return err
}
