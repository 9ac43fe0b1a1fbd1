package injector

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestNobodyTakesAllTheMemory(t *testing.T) {
	b := newBudget(1000)
	taken := map[string]int{}
	for range 200 {
		for _, ip := range []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"} {
			if _, ok := b.tryReserve(netip.MustParsePrefix(ip+"/32"), 10); ok {
				taken[ip] += 10
			}
		}
	}
	if b.free < 200 {
		t.Errorf("three addresses took %v and left %d of 1000", taken, b.free)
	}
	if _, ok := b.tryReserve(netip.MustParsePrefix("10.0.0.9/32"), 200); !ok {
		t.Error("a fourth address got nothing")
	}
}

func TestAReviewWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, from := newBudget(1000), netip.Prefix{}
		if err := b.reserve(t.Context(), from, 800); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- b.reserve(t.Context(), from, 800) }()
		synctest.Wait()
		b.release(from, 800)
		if err := <-done; err != nil {
			t.Errorf("the next one: %v", err)
		}
		began := time.Now()
		if err := b.reserve(t.Context(), from, 800); !errors.Is(err, errNoRoom) {
			t.Errorf("without room: %v", err)
		}
		if time.Since(began) != roomTimeout {
			t.Errorf("it waited for %v", time.Since(began))
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.reserve(ended, from, 800); !errors.Is(err, context.Canceled) {
			t.Errorf("whose caller has gone: %v", err)
		}
	})
}

// peak watches the heap until the function that it returns is called.
func peak() (most func() uint64) {
	stop, done := make(chan struct{}), make(chan uint64)
	go func() {
		var m runtime.MemStats
		var most uint64
		for {
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			select {
			case <-stop:
				done <- most
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	return func() uint64 { close(stop); return <-done }
}

// Anybody in the cluster may post to the webhook; they share what it may take.
func TestManyLargeReviewsAreBounded(t *testing.T) {
	hook, _ := newWebhook(shop(nil))
	server := httptest.NewServer(hook)
	defer server.Close()
	large := review(t, `{"metadata":{"annotations":{"x":"`+strings.Repeat("y", 3<<20)+
		`"}},"spec":{"containers":[{"name":"a"}]}}`, nil)
	most := peak()
	var all sync.WaitGroup
	for range 24 {
		all.Go(func() {
			resp, err := http.Post(server.URL+WebhookPath, "application/json",
				strings.NewReader(large))
			if err == nil {
				resp.Body.Close()
			}
		})
	}
	all.Wait()
	if n := most(); n > 100<<20 {
		t.Errorf("24 reviews of 3 MiB took %d MiB of heap; the container has 128", n>>20)
	}
}

func TestABodyOfUnknownLengthIsNotRead(t *testing.T) {
	hook, _ := newWebhook(shop(nil))
	rw := httptest.NewRecorder()
	body := io.MultiReader(strings.NewReader(review(t, `{}`, nil)))
	hook.ServeHTTP(rw, httptest.NewRequest(http.MethodPost, WebhookPath, body))
	if rw.Code != http.StatusLengthRequired {
		t.Errorf("status %d", rw.Code)
	}
}
