package destination

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/test/await"
)

// heap is what is in use after a collection, in bytes.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // of what finalizers kept
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// subscribeMany asks for so many long names that nobody else asks for, and says that it holds
// nothing. An error is found by receiving.
func (c *client) subscribeMany(n int, prefix string) {
	for i := range n {
		key := authority(fmt.Sprintf("%s-%d.%s.%[3]s.%[3]s", prefix, i, strings.Repeat("n", 60)))
		c.SendMsg(&api.DiscoverRequest{Message: &api.DiscoverRequest_Subscribe{
			Subscribe: &api.Subscribe{Key: key},
		}})
	}
	c.SendMsg(resume(true))
}

// All streams of a pod together hold no more than one proxy needs: more ends the stream that asks,
// and no other. What was held is given back with a stream, and the weights are what is in memory.
func TestWhatAPodHoldsIsBounded(t *testing.T) {
	const many = 6000 // of which one stream may have, and two may not
	s := startServer(t, cluster)
	close(s.gate.open)
	before := heap()
	first := s.resuming(t)
	first.subscribeMany(many, "first")
	first.next()
	pod := caller{namespace: "shop", pod: "web-1"}
	if held, weight := heap()-before, s.weightOf(pod); held > 2*weight || weight > maxPodWeight {
		t.Errorf("%d bytes are in memory for a weight of %d", held, weight)
	}
	second := s.resuming(t)
	second.subscribeMany(many, "second")
	second.failsWith(codes.ResourceExhausted, "the streams of this pod hold more than 48 MiB")

	first.subscribe(address("10.96.0.10:80")) // it lives
	for len(first.next().GetResources().GetResources()) != 3 {
	}
	if err := first.CloseSend(); err != nil {
		t.Fatal(err)
	}
	first.failsWith(codes.Unknown, "EOF")
	third := s.resuming(t)
	third.subscribeMany(many, "third")
	third.next()
	third.cancel()
	await.Return(t, "nothing is left", func() {
		for s.weightOf(pod) != 0 {
			runtime.Gosched()
		}
	})
}

// What a proxy holds from an earlier stream, and what it rejects, weighs until it is answered.
func TestWhatAProxySaysBeforeItIsAnsweredIsBounded(t *testing.T) {
	s := startServer(t, cluster)
	close(s.gate.open)
	pod := caller{namespace: "shop", pod: "web-1"}
	first, second := s.resuming(t), s.resuming(t)
	first.sayMuch()
	await.Return(t, "it weighs", func() {
		for s.weightOf(pod) < maxPodWeight/2 {
			runtime.Gosched()
		}
	})
	second.sayMuch()
	second.failsWith(codes.ResourceExhausted, "the streams of this pod hold more than 48 MiB")
	first.resume()
	first.next() // what it holds is removed
	if weight := s.weightOf(pod); weight > nameWeight {
		t.Errorf("%d bytes are held when all is answered", weight)
	}
}

// sayMuch names as much as one stream may, but for the last word.
func (c *client) sayMuch() {
	const each = 128 // of a message
	for i := range api.MaxKeys {
		rejected := &api.Rejected{
			Kind: api.Kind_KIND_ROUTE, Name: fmt.Sprintf("%d-%s", i, strings.Repeat("n", 300)),
			Reason: strings.Repeat("r", api.MaxReason),
		}
		c.SendMsg(&api.DiscoverRequest{
			Message: &api.DiscoverRequest_Rejected{Rejected: rejected},
		}) // an error is found by receiving
	}
	for i := range api.MaxHeld / each {
		var held []*api.Held
		for j := range each {
			held = append(held, &api.Held{
				Kind: api.Kind_KIND_CLUSTER, Version: strings.Repeat("0", api.VersionLen),
				Name: fmt.Sprintf("%d-%d-%s", i, j, strings.Repeat("n", 280)),
			})
		}
		c.SendMsg(resume(false, held...))
	}
}

func (s *server) weightOf(c caller) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for pod, share := range s.perPod {
		if pod.Namespace == c.namespace && pod.Name == c.pod {
			return share.weight.Load()
		}
	}
	return 0
}
