package destination

import (
	"cmp"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/destination/api"
	"github.com/tulle-mesh/tulle/identity/serve"
)

// discoverStream is the server's end of a proxy's stream.
type discoverStream = grpc.BidiStreamingServer[api.DiscoverRequest, api.DiscoverResponse]

// conversation is one stream, from admission to end. While its proxy says nothing it rests, without
// a goroutine: what changes is flushed all the same.
type conversation struct {
	destination *Destination
	rpc         discoverStream
	limiter     *rate.Limiter
	// What follows is nil until begin has come so far.
	leave   func()
	stream  *stream
	flusher *flusher
	age     *time.Timer
}

// Discover is one stream, from admission to end. The generated code calls it.
func (d *Destination) Discover(rpc discoverStream) error {
	c := &conversation{destination: d, rpc: rpc,
		limiter: rate.NewLimiter(d.requests.perSecond, d.requests.burst)}
	if err := c.begin(); err != nil {
		return c.end(err)
	}
	return c.next()
}

// begin admits the proxy and says Welcome.
func (c *conversation) begin() error {
	d, ctx := c.destination, c.rpc.Context()
	who, err := peerOf(ctx)
	if err != nil {
		return err
	}
	share, leave, err := d.enter(types.NamespacedName{Namespace: who.namespace, Name: who.Pod})
	if err != nil {
		return err
	}
	c.leave = leave
	if d.isSynced() { // then who is nobody's pod need not say Hello to hear of it
		if _, _, err := d.identify(who); err != nil {
			return err
		}
	}
	// What a proxy waits for it waits for with its Hello said: a call that says nothing is ended
	// sooner than a large cluster is read, and sooner than the last of 10,000 has its turn.
	hello, err := c.receiveHello()
	if err != nil {
		return err
	}
	select {
	case <-d.synced:
	case <-ctx.Done():
		return ended(ctx)
	}
	caller, workload, err := d.identify(who)
	if err != nil {
		return err
	}
	c.stream = newStream(d.hub, caller, d.rejected, c.send)
	c.stream.share, c.stream.standings, c.stream.healths = share, d.standings, d.healths
	c.stream.lendings = d.lendings
	if err := c.stream.greet(hello); err != nil {
		return err
	}
	return c.welcome(workload)
}

func (c *conversation) receiveHello() (*api.Hello, error) {
	first, err := c.rpc.Recv()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if first.GetHello() == nil {
		return nil, status.Error(codes.InvalidArgument, "the first message must be Hello")
	}
	return first.GetHello(), nil
}

// welcome answers a proxy when it is its turn. From then on it is flushed.
func (c *conversation) welcome(workload *api.Workload) error {
	ctx := c.rpc.Context()
	if err := c.destination.admit.Wait(ctx); err != nil {
		return ended(ctx)
	}
	welcome := &api.DiscoverResponse_Welcome{Welcome: &api.Welcome{
		Workload: workload, Locality: c.stream.caller.locality(),
	}}
	if err := c.send(&api.DiscoverResponse{Message: welcome}); err != nil {
		return err
	}
	c.flusher = newFlusher(c.stream, func(err error) { serve.End(ctx, err) })
	c.age = time.AfterFunc(jitter(streamAge), func() { serve.End(ctx, errAged) })
	return nil
}

func (c *conversation) send(m *api.DiscoverResponse) error {
	c.destination.messages.Inc()
	return c.rpc.Send(m)
}

// next takes what the proxy has said, and rests.
func (c *conversation) next() error {
	if err := c.receive(); err != nil {
		return c.end(err)
	}
	return &serve.Rest{Next: c.next}
}

// receive takes what is here as fast as the limiter lets it. What is not read yet waits in the
// connection's window, and then in the proxy.
func (c *conversation) receive() error {
	ctx := c.rpc.Context()
	for serve.Received(ctx) {
		if err := c.limiter.Wait(ctx); err != nil {
			return ended(ctx)
		}
		req, err := c.rpc.Recv()
		if err != nil && ctx.Err() != nil {
			return ended(ctx)
		}
		if err != nil {
			return err
		}
		if err := c.stream.receive(req); err != nil {
			return err
		}
	}
	return nil
}

// errAged ends a stream that is as old as one may be.
var errAged = errors.New("the stream has reached its age")

// ended is why a stream's context is done.
func ended(ctx context.Context) error {
	why := context.Cause(ctx)
	if errors.Is(why, ctx.Err()) {
		return status.FromContextError(why).Err()
	}
	return why
}

// end lets go of everything, and returns what the proxy is to hear.
func (c *conversation) end(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, errAged) {
		err = nil
	}
	if c.flusher != nil {
		// a flush that waits for the proxy ends
		serve.End(c.rpc.Context(), cmp.Or(err, context.Canceled))
		c.flusher.stop()
		c.age.Stop()
	}
	if c.stream != nil {
		c.stream.close()
	}
	if c.leave != nil {
		c.leave()
	}
	if code := status.Code(err); err != nil && code != codes.Canceled {
		c.destination.refusals.WithLabelValues(code.String()).Inc()
		c.destination.cfg.Log.Warn("stream ended", "error", err)
	}
	return err
}

func jitter(d time.Duration) time.Duration {
	fifth := int64(d / 5)
	return d - time.Duration(fifth) + time.Duration(rand.Int64N(2*fifth))
}
