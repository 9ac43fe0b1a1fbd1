package injector

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
)

const (
	// reviewMemory is what all reviews that are worked on may take together, in bytes, within the
	// container's limit (128 MiB).
	reviewMemory = 32 << 20
	// memoryPerByte of a body: itself, the pod's text in it, the pod, and the patch.
	memoryPerByte = 4
	// memoryPerReview is for the rest.
	memoryPerReview = 32 << 10
	// roomTimeout is how long a review waits for room; the API server gives it ten seconds in all.
	roomTimeout = 3 * time.Second
)

var errNoRoom = errors.New("too many reviews at once: try again")

// budget shares memory among addresses. Nobody can be authenticated here: an API server shows a
// certificate only where it was configured to. So an address may take as much as it leaves free:
// one takes half, two a third each, and what is left is enough for a review of ordinary size, from
// whatever other address (dynamic thresholds: Choudhury and Hahne, 1998).
type budget struct {
	mu    sync.Mutex // guards what follows
	free  int
	held  map[netip.Prefix]int
	freed chan struct{} // closed, and made anew, when something was given back
}

func newBudget(size int) *budget {
	return &budget{free: size, held: map[netip.Prefix]int{}, freed: make(chan struct{})}
}

// reserve waits until n bytes are granted. The caller gives them back.
func (b *budget) reserve(ctx context.Context, from netip.Prefix, n int) error {
	timeout := time.NewTimer(roomTimeout)
	defer timeout.Stop()
	for {
		freed, ok := b.tryReserve(from, n)
		if ok {
			return nil
		}
		select {
		case <-freed:
		case <-timeout.C:
			return errNoRoom
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *budget) tryReserve(from netip.Prefix, n int) (freed <-chan struct{}, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held[from]+n > b.free {
		return b.freed, false
	}
	b.free -= n
	b.held[from] += n
	return nil, true
}

func (b *budget) release(from netip.Prefix, n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += n
	if b.held[from] -= n; b.held[from] == 0 {
		delete(b.held, from)
	}
	close(b.freed)
	b.freed = make(chan struct{})
}
