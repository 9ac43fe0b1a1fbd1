package destination

import (
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/types"
)

// What the streams of one pod may make this process remember, all together. A proxy with as many
// targets as it may have, and all that they refer to, takes some 24 MiB, and twice that while it
// moves to another stream; the usual hundred targets take half of one. The weights are what the
// largest streams were measured to take, garbage excluded.
const (
	maxPodWeight = 48 << 20 // bytes
	keyWeight    = 4 << 10  // of a key, beside its text: two cells, what they hold, what was sent
	nameWeight   = 128      // of a name that is kept for a while, beside its text
)

// podShare is what the streams of one pod hold.
type podShare struct {
	streams int          // Destination.mu guards it
	weight  atomic.Int64 // bytes, about
}

// join counts a stream of a pod in, or returns nil: it would be one too many. Without an attested
// pod there is nothing to count by, and the stream has a share of its own.
func (d *Destination) join(pod types.NamespacedName) *podShare {
	if pod.Name == "" {
		return &podShare{}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	share := d.perPod[pod]
	if share == nil {
		share = &podShare{}
		d.perPod[pod] = share
	}
	if share.streams == maxStreamsPerPod {
		return nil
	}
	share.streams++
	return share
}

// part counts a stream out that has joined.
func (d *Destination) part(pod types.NamespacedName, share *podShare) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if share.streams--; share.streams == 0 {
		delete(d.perPod, pod)
	}
}

// weighLocked adds to what the stream holds, or takes from it. s.mu is held. An error ends the
// stream.
func (s *stream) weighLocked(by int) error {
	if s.closed {
		return status.Error(codes.Canceled, "the stream has ended")
	}
	s.weight += by
	if s.share.weight.Add(int64(by)) > maxPodWeight && by > 0 {
		return status.Errorf(codes.ResourceExhausted,
			"the streams of this pod hold more than %d MiB: unsubscribe keys that are not in use, "+
				"or end a stream", maxPodWeight>>20)
	}
	return nil
}

// weighPassingLocked adds what is held until the next flush.
func (s *stream) weighPassingLocked(name string, more int) error {
	by := nameWeight + len(name) + more
	s.passing += by
	return s.weighLocked(by)
}

// unweigh gives back all that the stream held. It holds nothing more from then on.
func (s *stream) unweigh() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.share.weight.Add(-int64(s.weight))
	s.weight, s.closed = 0, true
}
