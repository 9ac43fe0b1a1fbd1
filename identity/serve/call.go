package serve

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/proxy/h2"
)

const (
	// sendBuffer is how many bytes of a call may be unsent before SendMsg waits: HTTP/2's default
	// window.
	sendBuffer = 64 << 10
	// sendPiece is how much of a message is handed to HTTP/2 at a time: what does not leave at once
	// is copied.
	sendPiece = 32 << 10
	// prefix is the size of what stands before each message: a flag and a length.
	prefix = 5
)

// call is one call. The connection's reader tells it what has come, as an h2.Sink; its handler, on
// a goroutine of the call's own, has it for its grpc.ServerStream. One goroutine may send while
// another receives.
type call struct {
	session *session
	h2      *h2.Stream
	method  *method // nil until the head has come, and for a call that is refused
	leave   func()  // Admit's
	ctx     context.Context
	cancel  context.CancelCauseFunc
	ask     *time.Timer // until the first message is here

	arrived chan struct{} // something may have been received
	room    chan struct{} // bytes may have left

	mu         sync.Mutex   // guards what follows
	resting    func() error // what the handler goes on with; nil: it has a goroutine
	woken      bool
	in         []byte // received, and not taken: whole messages, and the beginning of another
	unconsumed int    // received bytes whose window was not given back
	broken     error  // what came is no message
	complete   bool   // the caller has said all
	began      bool   // our head is sent
	unsent     int    // below zero for a moment when bytes leave before WriteData has returned
}

var errSilent = status.Error(codes.DeadlineExceeded,
	"the call's first message did not come in time")

type callKey struct{}

func newCall(s *session, stream *h2.Stream) *call {
	return &call{session: s, h2: stream,
		arrived: make(chan struct{}, 1), room: make(chan struct{}, 1)}
}

// OnHeaders takes the head, and trailers, in which gRPC says nothing.
func (c *call) OnHeaders(fields []hpack.HeaderField, end bool) {
	if c.method == nil {
		if err := c.begin(fields); err != nil {
			c.refuse(err)
			return
		}
		c.session.server.running.Add(1) // the session is counted, so nobody has waited in vain
		go c.run(c.answer)
	}
	if end {
		c.OnData(nil, true)
	}
}

// begin admits a call. It is the caller's own from its headers on: whoever says no more is cut off.
func (c *call) begin(fields []hpack.HeaderField) error {
	head, err := parseHead(fields)
	if err != nil {
		return err
	}
	g := c.session.server
	m := g.methods[head.path]
	if m == nil {
		return status.Errorf(codes.Unimplemented, "unknown method %s", head.path)
	}
	c.open(head.timeout)
	leave := func() {}
	if g.Admit != nil {
		if leave, err = g.Admit(c.ctx); err != nil {
			c.cancel(err)
			return err
		}
	}
	if !c.session.join(c) {
		leave()
		c.cancel(errOld)
		return errOld
	}
	c.method, c.leave = m, leave
	c.ask = time.AfterFunc(g.limits.Ask, func() { c.cancel(errSilent) })
	return nil
}

// open makes the call's context, which ends with the time that the caller gives it; 0: any.
func (c *call) open(timeout time.Duration) {
	ctx := context.WithValue(c.session.ctx, callKey{}, c)
	stop := func() {}
	if timeout > 0 {
		ctx, stop = context.WithTimeout(ctx, timeout)
		context.AfterFunc(ctx, c.wake)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	c.ctx = ctx
	c.cancel = func(why error) {
		cancel(why)
		stop()
		c.wake()
	}
}

// refuse answers a call that has no handler.
func (c *call) refuse(err error) {
	var plain *plainRefusal
	fields := trailersOnly(err)
	if errors.As(err, &plain) {
		fields = plain.fields()
	}
	c.h2.WriteHeaders(fields, true) // what the caller takes no head so long for, it does not get
	c.h2.Reset(h2.CodeNone)
}

// answer calls the handler.
func (c *call) answer() error {
	c.method.started.Inc()
	if c.method.unary == nil {
		return c.method.stream(c.method.service, c)
	}
	resp, err := c.method.unary(c.method.service, c.ctx, c.RecvMsg, nil)
	if err != nil {
		return err
	}
	return c.SendMsg(resp)
}

// end is after the handler.
func (c *call) end(err error) {
	c.ask.Stop()
	c.session.leave(c)
	c.finish(err)
	c.cancel(context.Canceled)
	c.leave()
}

// finish sends the status, and what is left of the request away.
func (c *call) finish(err error) {
	c.method.handled.WithLabelValues(codeOf(err).String()).Inc()
	c.mu.Lock()
	fields := trailers(err)
	if !c.began {
		fields = trailersOnly(err)
	}
	c.mu.Unlock()
	code := h2.CodeNone
	if c.h2.WriteHeaders(fields, true) != nil {
		code = h2.CodeInternal // the caller takes no head so long
	}
	c.h2.Reset(code)
	c.h2.Flush()
}

// OnData takes a piece of the request.
func (c *call) OnData(p []byte, end bool) {
	c.mu.Lock()
	c.in = append(c.in, p...)
	c.unconsumed += len(p)
	c.complete = c.complete || end
	if _, err := c.firstLocked(); err != nil && c.broken == nil {
		c.broken = err
	}
	back := c.creditLocked(0)
	c.mu.Unlock()
	if back > 0 {
		c.h2.Consumed(back) // the reader flushes after its batch
	}
	c.wake()
}

// firstLocked is how many bytes the first message has with its prefix; 0: it is not complete.
func (c *call) firstLocked() (int, error) {
	if len(c.in) < prefix {
		return 0, nil
	}
	if c.in[0] != 0 {
		return 0, status.Error(codes.Unimplemented, "the message is compressed: send it as it is")
	}
	n, most := binary.BigEndian.Uint32(c.in[1:]), c.session.server.limits.Message
	if uint64(n) > uint64(most) {
		return 0, status.Errorf(codes.ResourceExhausted,
			"the message has %d bytes, more than %d", n, most)
	}
	if len(c.in) < prefix+int(n) {
		return 0, nil
	}
	return prefix + int(n), nil
}

// creditLocked is how much of the window is given back when n bytes were taken. While whole
// messages wait it is no more than those bytes. Where there is only a part of one it is all: the
// message is bounded, and could never become complete without the window.
func (c *call) creditLocked(n int) (back int) {
	back = min(n, c.unconsumed)
	if whole, err := c.firstLocked(); whole == 0 && err == nil {
		back = c.unconsumed
	}
	c.unconsumed -= back
	return back
}

// next waits for the next message, still encoded.
func (c *call) next() ([]byte, error) {
	for {
		m, back, err := c.take()
		if back > 0 {
			c.h2.Consumed(back)
			c.h2.Flush()
		}
		if m != nil || err != nil {
			return m, err
		}
		select {
		case <-c.arrived:
		case <-c.ctx.Done():
			return nil, c.cause()
		}
	}
}

// take takes the first message, which is not nil, or says why there will be none; neither: it is
// not here yet.
func (c *call) take() (m []byte, back int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, _ := c.firstLocked()
	switch {
	case n > 0:
	case c.broken != nil:
		return nil, 0, c.broken
	case c.complete && len(c.in) > 0:
		return nil, 0, status.Error(codes.Internal, "the request ends within a message")
	case c.complete:
		return nil, 0, io.EOF
	default:
		return nil, 0, nil
	}
	m = c.in[prefix:n:n]
	if c.in = c.in[n:]; len(c.in) == 0 {
		c.in = nil
	}
	if _, err := c.firstLocked(); err != nil && c.broken == nil {
		c.broken = err
	}
	return m, c.creditLocked(n), nil
}

// RecvMsg waits for the next message. After the last one it returns io.EOF, and otherwise a status.
func (c *call) RecvMsg(m any) error {
	b, err := c.next()
	if err != nil {
		return err
	}
	c.ask.Stop()
	c.method.received.Inc()
	to, ok := m.(proto.Message)
	if !ok {
		return status.Errorf(codes.Internal, "%T is no message", m)
	}
	if err := proto.Unmarshal(b, to); err != nil {
		return status.Errorf(codes.Internal, "decode the message: %v", err)
	}
	return nil
}

// cause is why the call has ended before its handler.
func (c *call) cause() error {
	why := context.Cause(c.ctx)
	if errors.Is(why, context.Canceled) || errors.Is(why, context.DeadlineExceeded) {
		return status.FromContextError(why).Err()
	}
	return why
}

// SendMsg sends m. It waits while more than sendBuffer is unsent.
func (c *call) SendMsg(m any) error {
	kept := frames.Get().(*[]byte)
	defer recycle(kept)
	b, err := frame((*kept)[:0], m)
	if err != nil {
		return err
	}
	*kept = b
	c.method.sent.Inc()
	c.sendHead()
	for len(b) > 0 {
		if err := c.awaitRoom(); err != nil {
			return err
		}
		piece := b[:min(len(b), sendPiece)]
		b = b[len(piece):]
		waits := len(piece) - c.h2.WriteData(piece, false)
		c.mu.Lock()
		c.unsent += waits
		c.mu.Unlock()
		c.h2.Flush()
	}
	return nil
}

// frames are what messages are encoded into: HTTP/2 copies what it is given.
var frames = sync.Pool{New: func() any { return new([]byte) }}

// maxFrame is the largest that is used again, in bytes: few messages are larger.
const maxFrame = 64 << 10

func recycle(b *[]byte) {
	if cap(*b) <= maxFrame {
		frames.Put(b)
	}
}

// frame appends a message with its prefix to b.
func frame(b []byte, m any) ([]byte, error) {
	from, ok := m.(proto.Message)
	if !ok {
		return nil, status.Errorf(codes.Internal, "%T is no message", m)
	}
	b = slices.Grow(b, prefix+proto.Size(from))[:prefix]
	b, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, from)
	if err != nil {
		return nil, status.Error(codes.Internal, fmt.Sprintf("encode the message: %v", err))
	}
	b[0] = 0 // not compressed
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-prefix))
	return b, nil
}

func (c *call) sendHead() {
	c.mu.Lock()
	first := !c.began
	c.began = true
	c.mu.Unlock()
	if first {
		c.h2.WriteHeaders(head, false) // nobody takes heads that are shorter
	}
}

func (c *call) awaitRoom() error {
	for {
		c.mu.Lock()
		unsent := c.unsent
		c.mu.Unlock()
		switch {
		case c.ctx.Err() != nil:
			return c.cause()
		case unsent <= sendBuffer:
			return nil
		}
		select {
		case <-c.room:
		case <-c.ctx.Done():
		}
	}
}

// OnSent notes that n bytes have left which had to wait.
func (c *call) OnSent(n int) {
	c.mu.Lock()
	c.unsent -= n
	c.mu.Unlock()
	signal(c.room)
}

// OnReset ends a call that its caller, or the connection, has given up.
func (c *call) OnReset(uint32, error) {
	if c.cancel != nil {
		c.cancel(context.Canceled)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Context is the call's: it ends with the call.
func (c *call) Context() context.Context { return c.ctx }

var errNoMetadata = status.Error(codes.Unimplemented, "this server sends no metadata")

// SetHeader is asked for by grpc.ServerStream, as are SendHeader and SetTrailer: no service of ours
// has metadata to send.
func (c *call) SetHeader(metadata.MD) error  { return errNoMetadata }
func (c *call) SendHeader(metadata.MD) error { return errNoMetadata }
func (c *call) SetTrailer(metadata.MD)       {}
