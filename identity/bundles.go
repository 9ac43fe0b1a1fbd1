package identity

import (
	"context"
	"errors"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/identity/api"
	"github.com/tulle-mesh/tulle/identity/serve"
)

var (
	errStopping = status.Error(codes.Unavailable, "identity is stopping: connect again")
	errAged     = errors.New("the stream has reached its age")
)

// followers are the streams of Bundles. They rest, each without a goroutine, until there are other
// bundles. The zero value has none.
type followers struct {
	mu      sync.Mutex // guards what follows
	all     map[*follower]struct{}
	stopped error
}

// follower is one stream of Bundles. At most one goroutine at a time has it.
type follower struct {
	service *service
	stream  grpc.ServerStreamingServer[api.BundlesResponse]
	sent    *api.BundlesResponse
	age     *time.Timer
}

// Bundles sends every bundle at once and on each change, until the stream is old. The generated
// code calls it.
func (s *service) Bundles(
	_ *api.BundlesRequest, stream grpc.ServerStreamingServer[api.BundlesResponse],
) error {
	f := &follower{service: s, stream: stream}
	if err := s.followers.join(f); err != nil {
		return err
	}
	f.age = time.AfterFunc(streamAge+mathrand.N(streamAge),
		func() { serve.End(stream.Context(), errAged) })
	return f.next()
}

// next says what there is to say, and rests.
func (f *follower) next() error {
	err := f.tell()
	if err == nil {
		return &serve.Rest{Next: f.next}
	}
	f.age.Stop()
	f.service.followers.leave(f)
	if errors.Is(err, errAged) {
		return nil
	}
	return err
}

// tell sends the bundles if they are others than were sent.
func (f *follower) tell() error {
	if ctx := f.stream.Context(); ctx.Err() != nil {
		return context.Cause(ctx)
	}
	next := bundles(f.service.authority.source.Bundles())
	if len(next.Bundles) == 0 || proto.Equal(next, f.sent) {
		return nil
	}
	f.sent = next
	return f.stream.Send(next)
}

// announce wakes all followers at each change of the bundles, until the context ends.
func (s *service) announce(ctx context.Context) {
	for {
		changed := s.authority.source.BundlesChanged()
		s.followers.each(func(f *follower) { serve.Wake(f.stream.Context()) })
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

func (fs *followers) join(f *follower) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.stopped != nil {
		return fs.stopped
	}
	if fs.all == nil {
		fs.all = map[*follower]struct{}{}
	}
	fs.all[f] = struct{}{}
	return nil
}

func (fs *followers) leave(f *follower) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	delete(fs.all, f)
}

// each calls do, which must not block, for every follower.
func (fs *followers) each(do func(*follower)) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for f := range fs.all {
		do(f)
	}
}

// end ends all streams, and those that come.
func (fs *followers) end(why error) {
	fs.mu.Lock()
	fs.stopped = why
	fs.mu.Unlock()
	fs.each(func(f *follower) { serve.End(f.stream.Context(), why) })
}
